#!/bin/busybox sh
# shellcheck shell=dash
# What the guest runs: brings up the devices, runs the selftests on each, and
# says how it went on the second serial line. The first has the kernel's log.
#
# Needs:  the initramfs that build.sh makes, the machine that boot.sh starts
# Prints: KTAP; coverage, if the kernel counts it; last "guest: done", without
#         which the run has failed

/bin/busybox mkdir -p /usr/bin /sbin
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
mount -t debugfs none /sys/kernel/debug
mount -t securityfs none /sys/kernel/security
ln -s /proc/self/fd /dev/fd
ln -s fd/1 /dev/stdout
for report in /dev/ttyS1 /dev/ttyAMA1; do
	[ ! -c "$report" ] || exec </dev/null >"$report" 2>&1
done
stty -opost 2>/dev/null

[ "$1" != until-failure ] || until_failure=1
# A kernel whose drivers are modules has them by name.
[ ! -f /etc/modules ] || xargs modprobe -a </etc/modules
load() { if [ -f /etc/modules ]; then modprobe "$1"; else insmod "/modules/$1.ko"; fi; }

what=$(sed -n 's/.*guest=\([a-z]*\).*/\1/p' /proc/cmdline)
case $what in
none|baseline) ;;
*)
	load uio && load uio_msix || echo "not ok: insmod"
	load uio_pci_generic
	for module in meddle pte; do
		[ ! -f /modules/$module.ko ] || insmod /modules/$module.ko || echo "not ok: $module"
	done
	[ ! -f /modules/uio_vmxnet3.ko ] || insmod /modules/uio_vmxnet3.ko || echo "not ok: uio_vmxnet3" ;;
esac
# Beside another CPU (by boot.sh).
[ -z "$multi" ] || insmod /modules/kick.ko || echo "not ok: kick"

# A busy host makes a guest slow, which is no report. Before it is given up, though.
echo 240 2>/dev/null >/proc/sys/kernel/hung_task_timeout_secs
echo 60 2>/dev/null >/proc/sys/kernel/watchdog_thresh

# wait_for COMMAND...: until it succeeds, but not for ever.
wait_for() {
	tries=0
	until "$@"; do
		[ $((tries += 1)) -lt 600 ] || { echo "not ok: not within a minute: $*"; return; }
		sleep 0.1
	done
}

# The QEMU monitor is at the other end of a virtio port.
cat >/bin/monitor <<EOF
#!/bin/sh
# monitor COMMAND: a port that was asleep is not heard until it is probed again.
cd /sys/bus/virtio/drivers/virtio_console || exit 1
for dev in virtio*; do
	echo "\$dev" >unbind
	echo "\$dev" >bind
done
i=0
until grep -qsx monitor /sys/class/virtio-ports/*/name; do
	[ \$((i += 1)) -lt 100 ] || exit 1
	sleep 0.1
done
port=\$(grep -lx monitor /sys/class/virtio-ports/*/name)
port=\${port%/name}
echo "\$1" >/dev/"\${port##*/}"
EOF
# What the kernel's runner of tests has for lines to come at once, not with the last.
cat >/bin/perl <<'EOF'
#!/bin/sh
# perl prefix.pl
while IFS= read -r line; do printf '# %s\n' "$line"; done
EOF
ln -s /bin/perl /bin/env /usr/bin
chmod +x /bin/monitor /bin/perl
for name in /sys/class/virtio-ports/*/name; do
	[ "$(cat "$name" 2>/dev/null)" != monitor ] ||
		monitor=/dev/$(basename "$(dirname "$name")")
done

# Off, as long as nobody says otherwise.
case $(cat /sys/module/uio_msix/parameters/allow_unsafe_vf 2>/dev/null) in
Y) echo "not ok: allow_unsafe_vf" ;;
esac

# device NTH VENDOR:DEVICE prints the address of the nth such device.
device() {
	for dev in /sys/bus/pci/devices/*; do
		[ "$(cat "$dev/vendor"):$(cat "$dev/device")" != "0x${2%:*}:0x${2#*:}" ] ||
			basename "$dev"
	done | sed -n "$1p"
}

# What a program says, at once: sed keeps it.
said() { while IFS= read -r line; do printf '# %s\n' "$line"; done; }

# run NAME ADDRESS [VARIABLE=VALUE...]: the tests on one device, those of the series
# by the kernel's own runner.
bits32() { kselftest=/kselftest32 programs="uio_msix_test extra32"; }
bits64() { kselftest=/kselftest programs="uio_msix_test extra"; }
bits64
run() {
	name=$1 address=$2
	shift 2
	echo "guest: device $name $address"
	if [ -z "$address" ]; then
		echo "not ok: $name is not there"
		return
	fi
	locks=$(lockdep)
	for program in $programs; do
		case $program in
		uio_*)
			env UIO_MSIX_DEV="$address" "$@" $kselftest/run_kselftest.sh -t "uio:$program" ;;
		*)	env UIO_MSIX_DEV="$address" "$@" "$program" 2>&1 | said ;;
		esac | tee /tmp/result
		[ -z "$until_failure" ] || ! grep -q '^# not ok' /tmp/result || finish
	done
	# Unplugging makes it report, and go off, without the series too.
	[ "$locks" = "$(lockdep)" ] || [ "$what" = unplug ] ||
		echo "not ok: lockdep is off since $name"
}
lockdep() { sed -n 's/^ debug_locks: *//p' /proc/lockdep_stats 2>/dev/null; }

# aer PORT ERROR: the port reports it, and has recovered.
cat >/bin/aer <<EOF
#!/bin/sh
dmesg -c >/dev/null
monitor "pcie_aer_inject_error \$1 \$2" || exit 1
i=0
until dmesg | grep -q 'device recovery successful'; do
	[ \$((i += 1)) -lt 300 ] || exit 1
	sleep 0.1
done
EOF
# pull ID PATH: the monitor pulls the device, and PATH is gone.
cat >/bin/pull <<EOF
#!/bin/sh
monitor "device_del \$1" || exit 1
i=0
while [ -e "\$2" ]; do
	[ \$((i += 1)) -lt 300 ] || exit 1
	sleep 0.1
done
EOF
# plug_in PATH DEVICE: the monitor plugs it in, once the slot is free, and PATH is there.
cat >/bin/plug_in <<EOF
#!/bin/sh
i=0
until [ -e "\$1" ]; do
	[ \$((i += 1)) -lt 300 ] || exit 1
	[ \$((i % 30)) != 10 ] || monitor "device_add \$2"
	sleep 0.1
done
EOF
# vmxaway ADDRESS: uio_vmxnet3 is not opened while its device is reset by somebody,
# and puts back what a recovery that failed left of its configuration.
cat >/bin/vmxaway <<EOF
#!/bin/sh
echo uio_vmxnet3 >/sys/bus/pci/devices/"\$1"/driver_override
[ ! -e /sys/bus/pci/devices/"\$1"/driver ] || echo "\$1" >/sys/bus/pci/devices/"\$1"/driver/unbind
echo "\$1" >/sys/bus/pci/drivers_probe
uio=/dev/\$(ls /sys/bus/pci/devices/"\$1"/uio)
echo "\$1 1" >/sys/module/meddle/parameters/reset
(exec 3<>"\$uio") 2>/tmp/away
echo "\$1 0" >/sys/module/meddle/parameters/reset
cat /tmp/away
grep -q 'temporarily unavailable$' /tmp/away && (exec 3<>"\$uio") || exit 1
config=/sys/bus/pci/devices/"\$1"/config
before=\$(hexdump -s 4 -n 2 "\$config")
dd if=/dev/zero of="\$config" bs=1 seek=4 count=2 conv=notrunc 2>/dev/null
[ "\$(hexdump -s 4 -n 2 "\$config")" != "\$before" ] || exit 1
echo "\$1 3" >/sys/module/meddle/parameters/error
[ "\$(hexdump -s 4 -n 2 "\$config")" = "\$before" ]
EOF
chmod +x /bin/aer /bin/pull /bin/plug_in /bin/vmxaway
# Devices need not be asleep for long.
for test in suspend hibernate; do
	[ ! -f /sys/module/$test/parameters/pm_test_delay ] ||
		echo 1 >/sys/module/$test/parameters/pm_test_delay
done

finish() {
	echo "guest: done"
	# It waits for locks of devices, which a broken driver may hold; a panic does not.
	reboot -f &
	sleep 60
}

# vector_of ADDRESS: the interrupt of its vector 1 is in $irq once there is one.
vector_of() {
	irq=$(sed -n "s/^ *\([0-9]*\):.*uio_msix\[1\]($1)$/\1/p" /proc/interrupts)
	[ -n "$irq" ]
}

# slept PID: how often it went to sleep; sleeps PID N: again, after N times.
slept() { sed -n 's/^voluntary_ctxt_switches:[^0-9]*//p' /proc/"$1"/status; }
sleeps() { grep -q '^State:.S' /proc/"$1"/status && [ "$(slept "$1")" -gt "$2" ]; }

# The program in the documentation, until its device is unbound.
example() {
	dev=/sys/bus/pci/devices/$1
	echo "guest: device example $1"
	[ ! -e "$dev/driver" ] || echo "$1" >"$dev/driver/unbind"
	echo uio_msix >"$dev/driver_override"
	echo "$1" >/sys/bus/pci/drivers/uio_msix/bind
	/example /dev/"$(ls "$dev/uio")" >/tmp/example 2>&1 &
	example=$!
	wait_for vector_of "$1"
	sleep 1
	wait_for sleeps $example 0
	before=$(slept $example)
	echo trigger >/sys/kernel/debug/irq/irqs/"$irq"
	wait_for sleeps $example "$before"
	echo "$1" >/sys/bus/pci/drivers/uio_msix/unbind
	wait $example
	echo >"$dev/driver_override"
	sed 's/^/# /' /tmp/example
	if grep -q '^vector 1: 1$' /tmp/example && grep -q 'is gone$' /tmp/example; then
		echo "# ok 1 example"
	else
		echo "# not ok 1 example"
	fi
}

# With 64 KB pages QEMU has no VFs: their BARs are smaller than a page, which
# the PCI core does not take. Their interrupts arrive once the PF is up.
enable_vfs() {
	echo 2 >/sys/bus/pci/devices/"$pf"/sriov_numvfs
	ip link set "$(ls /sys/bus/pci/devices/"$pf"/net)" up
	vf=$(device 1 8086:10ca)
}

# long COMMAND... runs one of the programs that are too heavy for the selftests.
long() {
	echo "guest: $*"
	"$@" && echo "ok $1" && return
	echo "not ok $1: exit code $?"
	[ -z "$until_failure" ] || finish
}

unshared() { [ "$(readlink "/proc/$space/ns/net")" != "$(readlink /proc/self/ns/net)" ]; }

# The guest's kernel has the other card on the wire in a network namespace, with
# several addresses, for both queues of ours.
start_peer() {
	echo 16 >/proc/sys/vm/nr_hugepages
	unshare -n sleep 100000 &
	space=$!
	wait_for unshared
	peer=$(ls /sys/bus/pci/devices/"$(device 1 8086:10d3)"/net)
	ip link set "$peer" netns $space
	peer ip link set lo up
	peer ip link set "$peer" mtu 9000 up
	for i in 1 2 3 4; do
		peer ip address add 10.0.0.$i/24 dev "$peer"
	done
}
peer() { echo "peer: $*"; nsenter -t $space -n "$@" 2>&1; }

answers() { nsenter -t "$space" -n /bin/ping -q -c 1 -W 1 "$1" >/dev/null; }

# rights PID: what a process may, and whether that taints the kernel.
rights() {
	awk '/^Uid:/ { printf "uid %s, ", $2 } /^CapEff:/ { printf "capabilities %s, ", $2 }' /proc/"$1"/status
	[ $(($(cat /proc/sys/kernel/tainted) >> 6 & 1)) = 0 ] && echo "no TAINT_USER" || echo "TAINT_USER"
}

# The userspace driver answers it.
demo() {	# COMMAND...
	start_peer
	"$@" 10.0.0.100 &
	host=$!
	wait_for answers 10.0.0.100
	echo "rights: $(rights $host)"
	for i in 1 2 3 4; do
		peer /bin/ping -q -c 20 -i 0.01 -I 10.0.0.$i 10.0.0.100
	done
	for size in 0 8972 20000; do
		peer /bin/ping -q -c 20 -i 0.01 -s $size 10.0.0.100
	done
	for i in 1 2; do
		peer /bin/ping -q -f -c 5000 -I 10.0.0.$i 10.0.0.100
	done
	peer /bin/ping -q -f -l 100 -c 5000 10.0.0.100
	# hping3 sends what it is told to, but misses some of what comes back. The
	# kernel counts that, for nobody there listens.
	sent=$(peer hping3 -q --udp -p 7 -d 1000 -i u300 -c 5000 10.0.0.100 |
		sed -n 's/ packets tra.*//p')
	echo "hping3 --udp -d 1000: $sent packets transmitted, $(peer cat /proc/net/snmp |
		awk '$1 == "Udp:" { echoed = $3 } END { print echoed }') received"
	kill $host
	wait $host || echo "not ok demo_host: exit code $?"
	kill $space
}

# bind_vmxnet3 sets $uio to the UIO file of the vmxnet3.
bind_vmxnet3() {
	vmxnet3=$(device 1 15ad:07b0)
	echo "$vmxnet3" >/sys/bus/pci/drivers/vmxnet3/unbind
	echo uio_vmxnet3 >/sys/bus/pci/devices/"$vmxnet3"/driver_override
	echo "$vmxnet3" >/sys/bus/pci/drivers/uio_vmxnet3/bind
	uio=/dev/$(ls /sys/bus/pci/devices/"$vmxnet3"/uio)
}

# unprivileged COMMAND...: as somebody without a capability, instead of this shell.
unprivileged() {
	echo "user:x:1000:1000::/:/bin/sh" >/etc/passwd
	exec su -s /bin/sh user -c "exec $*"
}

# own NAME ADDRESS PROGRAM [ARGUMENT...]: one of our programs, on one device.
own() {
	name=$1 address=$2
	shift 2
	echo "guest: device $name $address"
	UIO_MSIX_DEV=$address "$@" 2>&1 | said | tee /tmp/result
	[ -z "$until_failure" ] || ! grep -q '^# not ok' /tmp/result || finish
	grep -q '^# # Totals:' /tmp/result || echo "not ok: $name does not finish"
}

# below PORT [FUNCTION]: the address of what is in it.
below() { basename "$(echo /sys/bus/pci/devices/0000:00:"$1".0/0000:*:00."${2:-0}")"; }

# Have kmemleak look for what nobody points to any more, twice to be sure.
leaks() {
	[ -f /sys/kernel/debug/kmemleak ] || return
	for _ in 1 2 3; do
		sleep 6		# younger ones do not count
		echo scan 2>/dev/null >/sys/kernel/debug/kmemleak || return
	done
	awk '/^unreferenced/ { named = 0 }
	     /\+0x[0-9a-f]+\/0x/ && !/kmem|alloc|slab|sprintf|strdup|memdup/ && !named++ {
		sub(/\+0x.*/, "")
		print "unreferenced object of " $1
	     }' /sys/kernel/debug/kmemleak >/dev/kmsg
	cat /sys/kernel/debug/kmemleak
}

# What gcov counted in the files of the series.
coverage() {
	find /sys/kernel/debug/gcov -name '*.gcda' 2>/dev/null | while read -r file; do
		# Not under lockdown.
		data=$(base64 "$file" 2>/dev/null) || continue
		echo "guest: coverage $(basename "$file")"
		echo "$data"
		echo "guest: end"
	done
}

# The mediated driver, between two NICs on one wire.
mediated() {
	kselftest=/mediated/kselftest programs=uio_vmxnet3_test
	vmxnet3=$(device 1 15ad:07b0)
	export UIO_VMXNET3_PEER UIO_VMXNET3_PULL="pull vmxnet3 /sys/bus/pci/devices/$vmxnet3"
	export UIO_VMXNET3_PLUG="plug_in /sys/bus/pci/devices/$vmxnet3 vmxnet3,id=vmxnet3,bus=rp1,netdev=ours,romfile="
	UIO_VMXNET3_PEER=$(ls /sys/bus/pci/devices/"$(device 1 8086:10d3)"/net)
	insmod /modules/order.ko || echo "not ok: order"
	echo 16 >/proc/sys/vm/nr_hugepages
	# Not the address that it was made with.
	ifconfig "$(ls /sys/bus/pci/devices/"$vmxnet3"/net)" hw ether 02:00:00:12:34:56
}

# The program in its documentation sends back what it gets, until its device is
# unbound.
example_vmxnet3() {
	echo "guest: device vmxnet3-example $vmxnet3"
	bind_vmxnet3
	chown 1000 "$uio"
	(unprivileged /example_vmxnet3 "$uio") >/tmp/example 2>&1 &
	example=$!
	ifconfig "$UIO_VMXNET3_PEER" 10.0.0.1
	packets=/sys/class/net/$UIO_VMXNET3_PEER/statistics/rx_packets
	wait_for sends_back
	echo "$vmxnet3" >/sys/bus/pci/drivers/uio_vmxnet3/unbind
	wait $example
	ifconfig "$UIO_VMXNET3_PEER" 0.0.0.0 down
	if grep -q 'the device is gone$' /tmp/example; then
		echo "# ok 1 example_vmxnet3"
	else
		sed 's/^/# /' /tmp/example
		echo "# not ok 1 example_vmxnet3"
	fi
}
sends_back() {
	before=$(cat "$packets")
	# Nobody has that address: it is asked for three times, by broadcast.
	ping -q -c 3 -W 1 10.0.0.9 >/dev/null
	[ $(($(cat "$packets") - before)) -ge 3 ]
}

pf=$(device 1 8086:10c9)
pulled=$(device 2 8086:10c9)
export UIO_MSIX_BRIDGE UIO_MSIX_NO_MSIX UIO_MSIX_MODULE=/modules/uio_msix.ko
UIO_MSIX_BRIDGE=$(device 4 1b36:000c)
UIO_MSIX_NO_MSIX=$(device 1 1af4:1110)

case $what in
baseline)
	# What the tests do to the rest of the kernel, without uio_msix.
	echo 1 >/sys/bus/pci/devices/"$pf"/sriov_numvfs
	echo "$pf" >/sys/bus/pci/drivers/igb/unbind
	echo "device_del pulled" >"$monitor"
	i=0
	# With PREEMPT_RT, 7.3-rc7 does not get there.
	case $(uname -v) in *PREEMPT_RT*) limit=20 ;; *) limit=120 ;; esac
	while [ -e "/sys/bus/pci/devices/$pulled" ] && [ $((i += 1)) -lt $limit ]; do
		sleep 1
	done
	[ ! -e "/sys/bus/pci/devices/$pulled" ] || echo "guest: not unplugged"
	;;
devices)
	run igb "$pf" UIO_MSIX_AER="aer rp1 DLP" UIO_MSIX_AER_NONFATAL="aer rp1 COMP_TIME"
	run rocker "$(device 1 1b36:0006)"
	run nvme "$(device 1 1b36:0010)" UIO_MSIX_AER="aer rp2 SDN" UIO_MSIX_AER_NONFATAL="aer rp2 UNX_COMP"
	[ "$(uname -m)" = aarch64 ] || { enable_vfs && run igb-vf "$vf"; }
	;;
mutant)
	# One test on one device, as igb+extra+resets. The quick devices first; or one.
	case $2 in
	*+*)
		# shellcheck disable=SC2046 # words
		set -- $(echo "$2" | tr + ' ')
		case $1 in
		igb) dev=$pf ;;
		igb-vf) enable_vfs && dev=$vf ;;
		e1000e) dev=$(device 1 8086:10d3) ;;
		nvme) dev=$(device 1 1b36:0010) ;;
		nvme-300) dev=$(device 2 1b36:0010) ;;
		megasas) dev=$(device 1 1000:0060) ;;
		*) dev=$(device 1 1b36:0006) ;;
		esac
		export UIO_MSIX_AER="aer rp1 DLP" UIO_MSIX_AER_NONFATAL="aer rp1 COMP_TIME"
		[ "$2" != uio_msix_test ] || set -- "$1" /kselftest/uio/"$2" "$3"
		own "$1" "$dev" "$2" -t "$3"
		leaks
		finish ;;
	esac
	for name in ${2:-rocker igb igb-vf rocker-32 rocker-faults}; do
		case $name in
		igb-vf) enable_vfs ;;
		rocker-32) bits32 ;;
		rocker-faults) programs=fail_nth ;;
		esac
		case $name in
		igb) run igb "$pf" UIO_MSIX_AER="aer rp1 DLP" UIO_MSIX_AER_NONFATAL="aer rp1 COMP_TIME" ;;
		igb-vf) run igb-vf "$vf" ;;
		*) run "$name" "$(device 1 1b36:0006)" ;;
		esac
	done
	;;
faults)
	programs=fail_nth
	run rocker-faults "$(device 1 1b36:0006)"
	run e1000e-faults "$(device 1 8086:10d3)"
	[ "$(uname -m)" = aarch64 ] || { enable_vfs && run igb-vf-faults "$vf"; }
	own nvme-300-faults "$(device 2 1b36:0010)" fail_nth -t open_below
	own megasas-faults "$(device 1 1000:0060)" fail_nth -t bind_below
	own megasas "$(device 1 1000:0060)" extra -t io_bars_are_port_regions
	;;
injected)
	run e1000e "$(device 1 8086:10d3)"
	# Its MSI-X table is longer than a page.
	run nvme-300 "$(device 2 1b36:0010)"
	run vmxnet3 "$(device 1 15ad:07b0)"
	run virtio-rng "$(device 1 1af4:1044)"

	example "$(device 1 8086:10d3)"
	;;
stock)
	# Debian's kernel, see dkms.sh: its own UIO drivers, on our core.
	insmod /modules/inject.ko || echo "not ok: inject"
	insmod /modules/hv_vmbus.ko || echo "not ok: hv_vmbus"
	echo "guest: device uio"
	n=0
	for module in uio_pci_generic uio_hv_generic uio_aec uio_cif uio_mf624 uio_netx uio_sercos3; do
		if modprobe "$module"; then ok=ok; else ok="not ok"; fi
		echo "# $ok $((n += 1)) $module"
	done
	run igb "$pf" UIO_MSIX_AER="aer rp1 DLP" UIO_MSIX_AER_NONFATAL="aer rp1 COMP_TIME"
	run nvme "$(device 1 1b36:0010)" UIO_MSIX_AER="aer rp2 SDN" UIO_MSIX_AER_NONFATAL="aer rp2 UNX_COMP"
	enable_vfs
	run igb-vf "$vf"
	nic=$(device 1 8086:10d3)
	run e1000e "$nic"
	# As README.md has it.
	rmmod uio_msix
	echo "guest: device driverctl $nic"
	driverctl set-override "$nic" uio_msix
	case $(readlink "/sys/bus/pci/devices/$nic/driver") in
	*/uio_msix) echo "# ok 1 driverctl" ;;
	*) echo "# not ok 1 driverctl" ;;
	esac
	example "$nic"
	UIO_MSIX_UNPLUG="pull pulled /sys/bus/pci/devices/$pulled" own igb-unplugged "$pulled" \
		/kselftest/uio/uio_msix_test -t unplug_while_in_use
	# As with Secure Boot.
	UIO_MSIX_LOCKDOWN=1 own e1000e-lockdown "$nic" extra -t lockdown
	;;
nomsi)
	dev=$(device 1 1b36:0006)
	echo "guest: device nomsi $dev"
	echo uio_msix >/sys/bus/pci/devices/"$dev"/driver_override
	echo "$dev" >/sys/bus/pci/drivers/uio_msix/bind
	(exec 3<>/dev/uio0) 2>/tmp/open
	sed 's/^/# /' /tmp/open
	if grep -q 'No such device$' /tmp/open; then
		echo "# ok 1 open_without_msi"
	else
		echo "# not ok 1 open_without_msi"
	fi
	# Only an open that succeeds does.
	[ $(($(cat /proc/sys/kernel/tainted) >> 6 & 1)) = 0 ] && ! dmesg | grep -q 'kernel tainted' ||
		echo "not ok: an open that failed taints"
	echo "$dev" >/sys/bus/pci/drivers/uio_msix/unbind
	;;
lockdown)
	# Nothing can be read from debugfs afterwards.
	programs=extra
	run e1000e-lockdown "$(device 1 8086:10d3)" UIO_MSIX_LOCKDOWN=1
	;;
compat)
	bits32
	run igb-32 "$pf"
	run rocker-32 "$(device 1 1b36:0006)"
	run nvme-32 "$(device 1 1b36:0010)"
	;;
unplug)
	# Not in "field", where sriov_numvfs is read while its device is removed: lockdep
	# takes that and a write to it for a deadlock, which are the kernel's own.
	[ "$(uname -m)" = aarch64 ] || {
		ip link set "$(ls /sys/bus/pci/devices/"$pf"/net)" up
		own igb-vf-field "$pf" field -f vf
	}
	programs=uio_msix_test
	run igb-unplugged "$pulled" UIO_MSIX_UNPLUG="pull pulled /sys/bus/pci/devices/$pulled"
	;;
racespf|racesrocker)
	[ "$what" = racespf ] && dev=$pf || dev=$(device 1 1b36:0006)
	long races "$dev" "$@"
	;;
racesvf)
	enable_vfs
	echo Y >/sys/module/uio_msix/parameters/allow_unsafe_vf
	UIO_MSIX_PF=$pf long races "$vf" "$@"
	;;
racesplug)
	long plug "$pulled" "$1" "$monitor" "device_add igb,bus=rp3,id=pulled,romfile="
	;;
fuzzpf) long fuzz "$pf" "$@" ;;
fuzzrocker) long fuzz "$(device 1 1b36:0006)" "$@" ;;
fuzznvme) long fuzz "$(device 1 1b36:0010)" "$@" ;;
fuzzvf)
	enable_vfs
	echo Y >/sys/module/uio_msix/parameters/allow_unsafe_vf
	long fuzz "$vf" "$@"
	;;
soakpf) long soak "$pf" "$@" ;;
soakrocker) long soak "$(device 1 1b36:0006)" "$@" ;;
demo|demovf)
	ours=$pf
	if [ "$what" = demovf ]; then
		enable_vfs
		echo Y >/sys/module/uio_msix/parameters/allow_unsafe_vf
		ours=$vf
	fi
	demo demo_host "$ours"
	;;
demomediated)
	bind_vmxnet3
	chown 1000 "$uio"
	demo unprivileged demo_host "$uio"
	;;
demotest)
	start_peer
	LINK_DOWN="echo set_link igb off >$monitor" LINK_UP="echo set_link igb on >$monitor" \
		FLOOD="exec nsenter -t $space -n hping3 -q --icmp -d 1000 --faster 10.0.0.255" \
		demo_test "$pf" "$@" || echo "not ok demo_test: exit code $?"
	;;
dpdk*)
	# shellcheck source=../../vfio/guest.sh
	. /guest.sh ;;
bench|benchkvm)
	for module in floor igb_uio; do
		[ ! -f /modules/$module.ko ] || insmod /modules/$module.ko
	done
	[ "$what" = benchkvm ] || export UIO_BENCH_CLOCK=tsc
	long bench speed "$pf" "$(device 1 1b36:0006)" "$(device 1 1b36:0010)" \
		"$(device 2 1b36:0010)" "$(device 3 1b36:0010)"
	;;
benchpackets)
	echo 16 >/proc/sys/vm/nr_hugepages
	source=$(device 2 8086:10c9)
	igb=$(ls /sys/bus/pci/devices/"$pf"/net)
	vmxnet3=$(ls /sys/bus/pci/devices/"$(device 1 15ad:07b0)"/net)
	for way in "AF_XDP copy" "AF_XDP zero-copy" AF_PACKET TPACKET; do
		case $way in *zero*) nic=$igb ;; *) nic=$vmxnet3 ;; esac
		long packets send polled "$way" "$nic" "$source"
		long packets receive polled "$way" "$nic" "$source"
		long packets receive asleep "$way" "$nic" "$source"
		ip link set "$nic" down
	done
	bind_vmxnet3
	for direction in send receive; do
		long packets $direction polled uio_vmxnet3 "$uio" "$source"
		long packets $direction interrupts uio_vmxnet3 "$uio" "$source"
	done
	long packets receive asleep uio_vmxnet3 "$uio" "$source"
	;;
benchfire) long bench fire "$pf" ;;
field)
	export FIELD_PULL FIELD_PLUG FIELD_OTHER
	export FIELD_CORRECTED="pcie_aer_inject_error rp4 BAD_TLP"
	FIELD_OTHER=$(below 12) own igb-field "$(below 11)" field -f field -f container
	own rocker-of-two "$(below 15)" field -f two
	own nvme-driven "$(device 1 1b36:0010)" nvme
	# Below a switch, whose slots are not those of the root port.
	own nvme-in-switch "$(device 4 1b36:0010)" extra -t unbind_does_not_reset_the_slot
	own ivshmem "$(device 1 1af4:1110)" doorbell
	FIELD_PULL="pcie_aer_inject_error rp4 DLP" FIELD_OTHER=$(below 14 1)
	own igb-beside "$(below 14)" field -f port
	# From here on lockdep may be off: see the baseline.
	FIELD_PULL="device_del plugged" FIELD_PLUG="device_add qemu-xhci,bus=rp2,id=plugged"
	own xhci-plugged "$(below 12)" field -f plug
	FIELD_PULL="device_del memory"
	own nvme-cmb "$(below 13)" field -f memory
	;;
wc)
	# By wc.sh. The drive and ivshmem have memory, prefetchable; the VF registers.
	cmb=$(below 13) ivshmem=$(device 1 1af4:1110) pf=$(below 11)
	own nvme-cmb-wc "$cmb" wc_test
	own ivshmem-wc "$ivshmem" wc_test
	programs=uio_msix_test
	run igb "$pf"
	run nvme-cmb "$cmb" UIO_MSIX_AER="aer rp3 DLP"
	run ivshmem "$ivshmem"
	enable_vfs
	run igb-vf "$vf"
	kselftest=/kselftest32
	run nvme-cmb-32 "$cmb"
	;;
onecpu)
	run rocker-onecpu "$(device 1 1b36:0006)"
	run e1000e-onecpu "$(device 1 8086:10d3)"
	FIELD_OTHER=$(device 1 1b36:0006) own nvme-crowd "$(device 1 1b36:0010)" field -f crowd
	# Of the table of the one, the second page has the last entry alone; the other
	# has one in all.
	own nvme-257 "$(device 2 1b36:0010)" extra -t maps_all_but_the_table
	own nvme-1 "$(device 3 1b36:0010)" /kselftest/uio/uio_msix_test
	;;
# By hand: scripts/boot.sh BUILD kexec LOGS.
kexec)
	echo "guest: device kexec $(device 1 1b36:0010)"
	kexec go "$(device 1 1b36:0010)" /kexec/kernel /kexec/initramfs \
		"$(sed 's/guest=kexec/guest=kexeced initcall_blacklist=nvme_init/' /proc/cmdline)"
	echo "not ok: kexec"
	;;
kexeced)
	kexec look "$(device 1 1b36:0010)" | sed 's/^/# /'
	;;
mediated)
	mediated
	example_vmxnet3
	run vmxnet3 "$vmxnet3" UIO_VMXNET3_DEV="$vmxnet3" UIO_VMXNET3_AER="aer rp1 DLP" \
		UIO_VMXNET3_LINK='monitor "set_link vmxnet3 %s"'
	long vmxforge "$vmxnet3" "$(device 1 1b36:0006)"
	long vmxaway "$vmxnet3"
	long vmxrules "$vmxnet3"
	# The vectors, which they share.
	programs=uio_msix_test
	run igb "$pf" UIO_MSIX_AER="aer rp2 DLP"
	# From here on lockdep may be off: see the baseline.
	export UIO_VMXNET3_DEV="$vmxnet3" UIO_VMXNET3_UNPLUG="$UIO_VMXNET3_PULL"
	own vmxnet3-pulled "$vmxnet3" $kselftest/uio/uio_vmxnet3_test -t unplug_in_traffic
	;;
mediatedfuzz)
	mediated
	long vmxfuzz "$vmxnet3" "$@"
	;;
mediatediommu)
	mediated
	case $(cat /sys/bus/pci/devices/"$vmxnet3"/iommu_group/type) in
	DMA) ;;
	*) echo "not ok: no strict IOMMU translates for $vmxnet3" ;;
	esac
	[ -n "$until_failure" ] || run vmxnet3-iommu "$vmxnet3" UIO_VMXNET3_DEV="$vmxnet3"
	long vmxfuzz "$vmxnet3" "$2"
	for mode in kill unbind; do
		long vmxstress "$vmxnet3" $mode "$3"
	done
	faults=$(dmesg | grep -c 'DMAR: .*fault addr')
	[ "$faults" = 0 ] || echo "not ok vmxstress: $faults IOMMU faults"
	;;
mediatedmutants|mediatedmutantsiommu)
	mediated
	rmmod uio_vmxnet3
	export UIO_VMXNET3_DEV=$vmxnet3 UIO_VMXNET3_AER="aer rp1 DLP" UIO_VMXNET3_LINK='monitor "set_link vmxnet3 %s"'
	while read -r number test mode; do
		dmesg -c >/dev/null
		insmod /mutants/mutants.ko which="$number" || break
		echo "guest: mutant $number"
		case $test-$mode in
		vmxforge-*) vmxforge "$vmxnet3" "$(device 1 1b36:0006)" ;;
		vmxfuzz-*) vmxfuzz "$vmxnet3" 10000 ;;
		vmxaway-*|vmxrules-*) $test "$vmxnet3" ;;
		*-deadlock) vmxstress "$vmxnet3" deadlock 60 ;;
		*-pinning) vmxstress "$vmxnet3" pinning 4 ;;
		vmxstress-*) vmxstress "$vmxnet3" "$mode" 20 ;;
		*)	timeout 120 $kselftest/uio/uio_vmxnet3_test -t "$test" ;;
		esac </dev/null >/tmp/mutant 2>&1 && said=missed || said=caught
		cat /tmp/mutant
		faults=$(dmesg | grep -c 'DMAR: .*fault addr')
		[ "$faults" = 0 ] || said="caught, $faults IOMMU faults"
		echo "guest: verdict $number $said"
		rmmod mutants || break
	done </mutants/list
	;;
mediatedstress)
	mediated
	long vmxstress "$vmxnet3" deadlock "$1"
	for mode in pinning kill unbind reset remove truncate punch pull; do
		long vmxstress "$vmxnet3" $mode "$2"
	done
	;;
iommu)
	case $(cat /sys/bus/pci/devices/"$pf"/iommu_group/type) in
	DMA*) ;;
	*) echo "not ok: no IOMMU translates for $pf" ;;
	esac
	# An IOMMU does not make a VF safe.
	enable_vfs
	own igb-vf-iommu "$vf" extra -t vf_needs_opt_in
	echo N >/sys/module/uio_msix/parameters/allow_unsafe_vf
	echo 0 >/sys/bus/pci/devices/"$pf"/sriov_numvfs
	run igb-iommu "$pf"
	# What the demonstration does there.
	if demo_host "$pf" 10.0.0.100; then
		echo "not ok: demo_host, with an IOMMU"
	fi
	run rocker-iommu "$(device 1 1b36:0006)"
	# One that shares its group with another; and one that is let through.
	run rocker-shared "$(device 2 1b36:0006)"
	echo "$pf" >/sys/bus/pci/drivers/igb/unbind
	echo identity >/sys/bus/pci/devices/"$pf"/iommu_group/type || echo "not ok: identity"
	run igb-identity "$pf"
	# So far it was lazy.
	echo DMA >/sys/bus/pci/devices/"$pf"/iommu_group/type || echo "not ok: strict"
	own igb-strict "$pf" /kselftest/uio/uio_msix_test -t open_taints_and_says_why_once_a_bind
	;;
nointremap)
	# The device can raise any vector; its DMA goes nowhere.
	case $(cat /sys/bus/pci/devices/"$pf"/iommu_group/type) in
	DMA*) ;;
	*) echo "not ok: no IOMMU translates for $pf" ;;
	esac
	run igb-nointremap "$pf"
	# With handlers that are threads.
	own rocker-threads "$(device 1 1b36:0006)" extra -t handler_in_progress
	;;
esac
leaks
[ ! -d /sys/module/uio_vmxnet3 ] || rmmod uio_vmxnet3 || echo "not ok: rmmod"
[ ! -d /sys/module/uio_msix ] || rmmod uio_msix || echo "not ok: rmmod"
coverage
finish
