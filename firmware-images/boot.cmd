# What U-Boot runs at each start. The builder fills in @DEVICE@, @PREPARE@,
# @STATE@, @SLOT@, @ARGS@ and @FDT@ and puts the text into U-Boot's control device tree, beside
# the public key: nothing on the disk decides what is run, but for the
# boot state, of which three variables are read, and the signed slots.
echo "telltale: choosing a slot"
setenv verify yes
setenv autostart
@PREPARE@
setenv BOOT_ORDER
setenv BOOT_A_LEFT
setenv BOOT_B_LEFT
setenv TELLTALE_TRIAL
part start @DEVICE@ boot-state tt_state
@READ@ @STATE@ ${tt_state} 1
if env import -c @STATE@ 0x200 BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT TELLTALE_TRIAL; then
  true
else
  echo "telltale: boot state cannot be read: A, then B"
  setenv BOOT_ORDER "A B"
  setenv BOOT_A_LEFT 3
  setenv BOOT_B_LEFT 3
  setenv TELLTALE_TRIAL
fi
for tt_slot in ${BOOT_ORDER}; do
  setenv tt_left 0
  setenv tt_part
  if test "${tt_slot}" = "A"; then
    setenv tt_left ${BOOT_A_LEFT}
    setenv tt_part slot-a
  fi
  if test "${tt_slot}" = "B"; then
    setenv tt_left ${BOOT_B_LEFT}
    setenv tt_part slot-b
  fi
  if test "${tt_left}" = "1" -o "${tt_left}" = "2" -o "${tt_left}" = "3"; then
    setexpr tt_left ${tt_left} - 1
    setenv BOOT_${tt_slot}_LEFT ${tt_left}
    env export -c -s 0x200 @STATE@ BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT TELLTALE_TRIAL
    @WRITE@ @STATE@ ${tt_state} 1
    echo "telltale: slot ${tt_slot}, ${tt_left} tries left"
    part start @DEVICE@ ${tt_part} tt_start
    part size @DEVICE@ ${tt_part} tt_size
    @READ@ @SLOT@ ${tt_start} 1
    if itest.l *@SLOT@ == 0xedfe0dd0; then
      fdt addr @SLOT@
      fdt header get tt_bytes totalsize
      setexpr tt_blocks ${tt_bytes} + 0x1ff
      setexpr tt_blocks ${tt_blocks} / 0x200
      if itest ${tt_blocks} <= ${tt_size}; then
        @READ@ @SLOT@ ${tt_start} ${tt_blocks}
        setenv bootargs "@ARGS@ telltale.slot=${tt_slot}"
        bootm @SLOT@#slot @SLOT@#slot @FDT@
      fi
    fi
    echo "telltale: slot ${tt_slot} holds nothing that may be started"
  fi
done
echo "telltale: BOTH SLOTS ARE BAD; trying again in a minute"
setenv BOOT_ORDER "A B"
setenv BOOT_A_LEFT 3
setenv BOOT_B_LEFT 3
setenv TELLTALE_TRIAL
env export -c -s 0x200 @STATE@ BOOT_ORDER BOOT_A_LEFT BOOT_B_LEFT TELLTALE_TRIAL
sleep 60
@WRITE@ @STATE@ ${tt_state} 1
reset
