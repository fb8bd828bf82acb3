# What U-Boot runs at each start. The builder fills in @DEVICE@, @PREPARE@,
# @STATE@, @SLOT@, @ARGS@ and @FDT@ and puts the text into U-Boot's control device tree, beside
# the public key: nothing on the disk decides what is run, but for the
# boot state, of which four variables are read, and the signed slots.
# Boot in hal/slots/uboot does the same for boards made of files; a test compares the two.
echo "telltale: choosing a slot"
setenv verify yes
setenv autostart
@PREPARE@
setenv BOOT_ORDER
setenv BOOT_A_LEFT
setenv BOOT_B_LEFT
setenv TELLTALE_TRIAL
part start @DEVICE@ boot-state tt_state
mw.l @STATE@ 0 0x80
@READ@ @STATE@ ${tt_state} 1
setenv tt_bad yes
if env import -c @STATE@ 0x200 BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT TELLTALE_TRIAL; then
  setenv tt_bad
fi
if test "x${BOOT_ORDER}" != "xA" -a "x${BOOT_ORDER}" != "xB" -a "x${BOOT_ORDER}" != "xA B"; then
  if test "x${BOOT_ORDER}" != "xB A"; then
    setenv tt_bad yes
  fi
fi
for tt_count in "x${BOOT_A_LEFT}" "x${BOOT_B_LEFT}"; do
  if test "${tt_count}" != "x0" -a "${tt_count}" != "x1" -a "${tt_count}" != "x2"; then
    if test "${tt_count}" != "x3"; then
      setenv tt_bad yes
    fi
  fi
done
if test "x${TELLTALE_TRIAL}" != "x" -a "x${TELLTALE_TRIAL}" != "xA" -a "x${TELLTALE_TRIAL}" != "xB"; then
  setenv tt_bad yes
fi
if test "x${tt_bad}" = "xyes"; then
  echo "telltale: boot state cannot be read: A, then B"
  setenv BOOT_ORDER "A B"
  setenv BOOT_A_LEFT 3
  setenv BOOT_B_LEFT 3
  setenv TELLTALE_TRIAL
fi
# Starts are counted only while a slot is on trial. Any other slot is passed over
# only when it cannot be read or verified, and is tried again at the next start.
for tt_slot in ${BOOT_ORDER}; do
  setenv tt_part slot-a
  setenv tt_left ${BOOT_A_LEFT}
  if test "${tt_slot}" = "B"; then
    setenv tt_part slot-b
    setenv tt_left ${BOOT_B_LEFT}
  fi
  setenv tt_start
  if test "x${tt_slot}" != "x${TELLTALE_TRIAL}"; then
    echo "telltale: slot ${tt_slot}"
    part start @DEVICE@ ${tt_part} tt_start
  elif test "${tt_left}" != "0"; then
    setexpr tt_left ${tt_left} - 1
    setenv BOOT_${tt_slot}_LEFT ${tt_left}
    env export -c -s 0x200 @STATE@ BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT TELLTALE_TRIAL
    @WRITE@ @STATE@ ${tt_state} 1
    echo "telltale: slot ${tt_slot} on trial, ${tt_left} tries left"
    part start @DEVICE@ ${tt_part} tt_start
  fi
  if test -n "${tt_start}"; then
    part size @DEVICE@ ${tt_part} tt_size
    if @READ@ @SLOT@ ${tt_start} 1 && itest.l *@SLOT@ == 0xedfe0dd0; then
      fdt addr @SLOT@
      fdt header get tt_bytes totalsize
      setexpr tt_blocks ${tt_bytes} + 0x1ff
      setexpr tt_blocks ${tt_blocks} / 0x200
      if itest ${tt_blocks} <= ${tt_size} && @READ@ @SLOT@ ${tt_start} ${tt_blocks}; then
        setenv bootargs "@ARGS@ telltale.slot=${tt_slot}"
        bootm @SLOT@#slot @SLOT@#slot @FDT@
      fi
    fi
    echo "telltale: slot ${tt_slot} holds nothing that may be started"
  fi
done
echo "telltale: BOTH SLOTS ARE BAD; trying again in a minute"
# Every slot gets its starts back. What is confirmed or on trial stays so: an older
# firmware must not become the confirmed one because a disk could not be read once.
if test "${BOOT_ORDER}" = "B" -o "${BOOT_ORDER}" = "B A"; then
  setenv BOOT_ORDER "B A"
else
  setenv BOOT_ORDER "A B"
fi
setenv BOOT_A_LEFT 3
setenv BOOT_B_LEFT 3
env export -c -s 0x200 @STATE@ BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT TELLTALE_TRIAL
sleep 60
@WRITE@ @STATE@ ${tt_state} 1
reset
