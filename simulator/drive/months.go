package drive

// months by their names, short and long, in lower case without a dot. They are
// the names of Windows and of strftime in English, German, French, Italian,
// Spanish, Portuguese, Catalan, Dutch, the Nordic languages, Estonian, Polish,
// Czech, Hungarian, Romanian, Turkish, Indonesian, Russian and Chinese (the
// last in GBK too, read as Latin-1). Names that mean one month in Polish or
// Czech and another in Croatian are left out: lip, lis, srp, listopad.
var months = [12]string{
	" jan january januar janv janvier gen gennaio gener ene enero janeiro januari januar jän jänner tammi tammikuu tammikuuta jaan jaanuar" +
		" sty styczeń stycznia led leden ledna január ian ianuarie oca ocak янв январь января 一月 ò»ôâ ",
	" feb february februar fév févr février febbraio febr febrer febrero fev fevereiro februari helmi helmikuu helmikuuta veebr veebruar" +
		" lut luty lutego úno únor února február februarie şub şubat фев февр февраль февраля 二月 ¶þôâ ",
	" mar march mär märz mrz mars marzo març março mrt maart maalis maaliskuu maaliskuuta märts" +
		" marzec marca bře březen března márc március martie mart maret мар март марта 三月 èýôâ ",
	" apr april avr avril aprile abr abril huhti huhtikuu huhtikuuta aprill" +
		" kwi kwiecień kwietnia dub duben dubna ápr április aprilie nis nisan апр апрель апреля 四月 ëäôâ ",
	" may mai mag maggio maig mayo maio mei maj touko toukokuu toukokuuta" +
		" maja kvě květen května máj május mayıs май мая 五月 îåôâ ",
	" jun june juni juin giu giugno juny junio junho kesä kesäkuu kesäkuuta juuni" +
		" cze czerwiec czerwca čvn červen června jún június iun iunie haz haziran июн июнь июня 六月 áùôâ ",
	" jul july juli juil juillet lug luglio julio julho heinä heinäkuu heinäkuuta juuli" +
		" lipiec lipca čvc červenec července júl július iul iulie tem temmuz июл июль июля 七月 æßôâ ",
	" aug august aoû août ago agosto agost augustus augusti elo elokuu elokuuta agu agt agustus" +
		" sie sierpień sierpnia srpen srpna augusztus ağu ağustos авг август августа 八月 °ëôâ ",
	" sep sept september septembre set settembre setembre septiembre setembro syys syyskuu syyskuuta" +
		" wrz wrzesień września zář září szept szeptember septembrie eyl eylül сен сент сентябрь сентября 九月 ¾åôâ ",
	" oct october okt oktober octobre ott ottobre octubre out outubro loka lokakuu lokakuuta oktoober" +
		" paź październik października říj říjen října október octombrie eki ekim окт октябрь октября 十月 ê®ôâ ",
	" nov november novembre noviembre novembro marras marraskuu marraskuuta" +
		" noi noiembrie kas kasım ноя нояб ноябрь ноября 十一月 ê®ò»ôâ ",
	" dec december dez dezember déc décembre dic dicembre diciembre dezembro des desember desembre joulu joulukuu joulukuuta dets detsember" +
		" gru grudzień grudnia pro prosinec prosince decembrie ara aralık дек декабрь декабря 十二月 ê®¶þôâ ",
}

// halves of the day, in the languages that have them; the Chinese ones in GBK too, read as Latin-1.
var halves = map[string]string{
	"am": "am", "a.m.": "am", "vorm.": "am", "上午": "am", "午前": "am", "오전": "am", "éïîç": "am",
	"pm": "pm", "p.m.": "pm", "nachm.": "pm", "下午": "pm", "午後": "pm", "오후": "pm", "ïâîç": "pm",
}

// fillers stand between the words of a date and mean nothing.
var fillers = map[string]bool{"de": true, "del": true, "of": true, "den": true, "der": true, "le": true}

// units of counted dates: Chinese, Japanese and Korean, then those in GBK, Shift-JIS and EUC-KR read as Latin-1 in lower case.
var units = struct{ year, month, day []string }{
	[]string{"年", "년", "äê", "\u0094n", "³â"},
	[]string{"月", "월", "ôâ", "\u008c\u008e", "¿ù"},
	[]string{"日", "일", "èõ", "\u0093ú", "àï"},
}
