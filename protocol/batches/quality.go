package batches

// TimeQuality says how far the clock that stamped a batch's rows can be trusted. The numbers
// are the wire's and never change.
type TimeQuality uint8

// The qualities, best first. A number that is not among them, of a later version, is read as TimeUnknown.
const (
	TimeUnknown  TimeQuality = iota // the vehicle does not say
	TimeGNSS                        // set by satellites
	TimeNTP                         // disciplined by the network, or by whatever else disciplines the system's clock
	TimeRTC                         // runs free; was set from the hardware clock
	TimeUnsynced                    // not known to be right: nothing has set the clock
)

// String gives the word of the MQTT property tq and of the lake: gnss, ntp, rtc or unsynced;
// empty for TimeUnknown.
func (q TimeQuality) String() string {
	switch q {
	case TimeGNSS:
		return "gnss"
	case TimeNTP:
		return "ntp"
	case TimeRTC:
		return "rtc"
	case TimeUnsynced:
		return "unsynced"
	}
	return ""
}

// Worse gives the quality of times that were stamped partly with q and partly with o: the worse
// one, and unknown when one of them is.
func (q TimeQuality) Worse(o TimeQuality) TimeQuality {
	if q == TimeUnknown || o == TimeUnknown {
		return TimeUnknown
	}
	return max(q, o)
}
