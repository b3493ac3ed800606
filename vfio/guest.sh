# shellcheck shell=dash disable=SC2154 # monitor and what: of init.sh
# What dpdk.sh has the guest do, sourced by init.sh. The kernel has one card of the
# wire, the peer, from which it pings whoever answers on the card under test.
#
# Prints: "ok" and "not ok" lines, and what ping counted
# Usage:  dpdk [short]     on a kernel without VFIO
#         dpdkvf           there too: the VF
#         dpdkiommu        there too: an IOMMU translates
#         dpdkcount        instructions, on a kernel with VFIO
#         dpdkvfio [short] on one that has it, to compare

library=/lib/uio_msix_vfio.so
[ "$1" = short ] && short=1
pings=${short:+50}
pings=${pings:-200}
fifo=/tmp/stdin
out=/tmp/out

# check NAME COMMAND...
check() {
	name=$1
	shift
	# What fails with VFIO too is no fault of ours, but said.
	if "$@"; then echo "${vfio}ok $name"; else echo "${vfio}not ok $name"; fi
}

# until_true SECONDS COMMAND...: try each 100 ms until it succeeds.
until_true() {
	tries=$(($1 * 10))
	shift
	until "$@"; do
		[ $((tries -= 1)) -gt 0 ] || return 1
		usleep 100000
	done
}

# take ADDRESS DRIVER: bind it, or with no driver leave it without.
take() {
	[ ! -e "/sys/bus/pci/devices/$1/driver" ] || echo "$1" >"/sys/bus/pci/devices/$1/driver/unbind"
	echo "$2" >"/sys/bus/pci/devices/$1/driver_override"
	[ -z "$2" ] || echo "$1" >"/sys/bus/pci/drivers/$2/bind"
}

# ping_it [NTH [COUNT]]: from the NTH address of the peer.
ping_it() {
	echo "peer: ${vfio}ping from 10.0.0.${1:-1}"
	/bin/ping -q -c "${2:-$pings}" -i 0.02 -W 20 -I "10.0.0.${1:-1}" 10.0.0.100 2>&1
}

# answers NAME [COUNT]: as a check.
answers() {
	ping_it 1 "${2:-$pings}" >/tmp/ping
	cat /tmp/ping
	check "$1" grep -q ' 0% packet loss' /tmp/ping
}

# run_dpdk PROGRAM VERSION ADDRESS [ARGUMENT...]: in the background, until it says that it works.
run_dpdk() {
	program=$1 version=$2 address=$3
	shift 3
	rm -f "$fifo"
	mkfifo "$fifo"
	case $program in
	testpmd) set -- -l 0-1 --no-telemetry -a "$address" -- -i --auto-start --forward-mode=icmpecho --nb-cores=1 \
		--total-num-mbufs=4096 --rxd=512 --txd=512 "$@" ;;
	queues) set -- --lcores "0@0,1@0,2@$(($(nproc) - 1))" --no-telemetry -a "$address" -- "$address" "$@" ;;
	esac
	LD_PRELOAD=$preload "/dpdk/$version/$program" "$@" <"$fifo" >"$out" 2>&1 &
	pid=$!
	exec 7>"$fifo"
	until_true 60 grep -qE '^started|^testpmd> ' "$out" || {
		sed 's/^/# /' "$out"
		return 1
	}
	settle
}

# For half a second after its link is up, QEMU's igb keeps packets back, and few of them.
# And the address was another card's before.
settle() {
	sleep 1
	ip neigh flush dev "$card"
}

tell() { echo "$1" >&7; }

# stop_dpdk: as its user would; 0 if it ended well.
stop_dpdk() {
	[ "$program" != queues ] || {
		stats
		echo "# $(sed -n '/^queue/s/$/;/p; /^link/p' "$out" | tr '\n' ' ')"
	}
	tell quit
	exec 7>&-
	wait "$pid"
}

stats() {
	: >"$out"
	tell stats
	until_true 10 grep -q '^link:' "$out"
}

# value QUEUE NAME: what a queue counted, as of now.
value() {
	stats
	sed -n "s/^queue $1:.* \([0-9]*\) $2.*/\1/p" "$out"
}

links() {
	stats
	sed -n 's/^link: //p' "$out"
}

# How a queue's thread is woken: by its own vector and no other.
own_vector() {
	for nth in 1 2 3 4; do
		before0=$(value 0 packets) before1=$(value 1 packets)
		wakes0=$(value 0 wakes) wakes1=$(value 1 wakes)
		ping_it $nth
		after0=$(($(value 0 packets) - before0)) after1=$(($(value 1 packets) - before1))
		wakes0=$(($(value 0 wakes) - wakes0)) wakes1=$(($(value 1 wakes) - wakes1))
		echo "# from 10.0.0.$nth: $after0 and $after1 packets, $wakes0 and $wakes1 wake-ups"
		[ $after0 = 0 ] || [ $wakes0 != 0 ] || return 1
		[ $after1 = 0 ] || [ $wakes1 != 0 ] || return 1
		[ $after0 != 0 ] || [ $wakes0 = 0 ] || return 1
		[ $after1 != 0 ] || [ $wakes1 = 0 ] || return 1
	done
	[ "$(value 0 packets)" != 0 ] && [ "$(value 1 packets)" != 0 ] &&
		[ "$(value 0 foreign)" = 0 ] && [ "$(value 1 foreign)" = 0 ] &&
		[ "$(value 0 late)" = 0 ] && [ "$(value 1 late)" = 0 ]
}

# One life of each program on an address, named so.
testpmd_answers() {	# VERSION ADDRESS NAME
	check "testpmd $1 on $3 starts" run_dpdk testpmd "$1" "$2"
	answers "testpmd $1 on $3 answers"
	check "testpmd $1 on $3 ends" stop_dpdk
}

# What a program that sleeps on the interrupts of two queues of igb goes through.
sleeper() {	# VERSION
	check "queues $1 starts" run_dpdk queues "$1" "$igb" 2
	check "queues $1: a thread is woken by its own vector only" own_vector
	echo "set_link igb off" >"$monitor"
	check "queues $1: link down" until_true 20 sh_links '^1 down'
	echo "set_link igb on" >"$monitor"
	check "queues $1: link up" until_true 20 sh_links ' [12] up'
	settle
	answers "queues $1 answers after link up"
	tell stop
	until_true 10 grep -q '^stopped' "$out"
	tell start
	until_true 10 grep -q '^started' "$out"
	settle
	answers "queues $1 answers after port stop and start"
	: >"$out"
	tell detach
	check "queues $1: detach" until_true 20 grep -q '^detached: 0' "$out"
	tell attach
	check "queues $1: attach" until_true 20 grep -q '^attached: 0' "$out"
	until_true 10 grep -q '^started' "$out"
	settle
	answers "queues $1 answers after detach and attach"

	check "a second owner is refused" second_owner "$1"
	answers "and the first goes on"

	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	exec 7>&-
	check "queues $1 starts after SIGKILL" run_dpdk queues "$1" "$igb" 2
	answers "queues $1 answers after SIGKILL"
	check "queues $1 ends" stop_dpdk
}

sh_links() { links | grep -qE "$1"; }

second_owner() {
	! timeout 60 env LD_PRELOAD="$preload" "/dpdk/$1/testpmd" -l 0 --file-prefix=b --no-telemetry -a "$igb" -- \
		--total-num-mbufs=2048 </dev/null >/tmp/second 2>&1 || return 1
	sed 's/^/# second: /' /tmp/second | grep -E 'uio_msix_vfio|EAL: .*open'
	[ -z "$preload" ] || grep -q '^uio_msix_vfio: .* open elsewhere' /tmp/second
}

# Killed whenever it is, it leaves a device that the next one can use.
killed() {	# VERSION TIMES
	i=0
	while [ $((i += 1)) -le "$2" ]; do
		rm -f "$fifo"
		mkfifo "$fifo"
		LD_PRELOAD=$preload "/dpdk/$1/testpmd" -l 0-1 --no-telemetry -a "$igb" -- --forward-mode=icmpecho \
			--nb-cores=1 --total-num-mbufs=4096 <"$fifo" >"$out" 2>&1 &
		pid=$!
		exec 7>"$fifo"
		ping -q -i 0.05 10.0.0.100 >/dev/null 2>&1 &
		pinger=$!
		usleep $(($(od -An -N2 -tu2 /dev/urandom) * 50))
		kill -9 "$pid"
		wait "$pid" 2>/dev/null
		kill "$pinger"
		exec 7>&-
	done
	testpmd_answers "$1" "$igb" "igb, after $2 kills at random"
}

# Started as its user would, it says why not.
refused() {	# VERSION ARGUMENT...
	version=$1
	shift
	timeout 60 env LD_PRELOAD="$preload" "/dpdk/$version/testpmd" -l 0 --no-telemetry -a "$igb" "$@" -- \
		--total-num-mbufs=2048 </dev/null >/tmp/refused 2>&1
	sed 's/^/# /' /tmp/refused | grep -E 'uio_msix_vfio|MSI|robe'
	grep '^uio_msix_vfio: ' /tmp/refused | grep -q 'use vfio-pci'
}

translated() {
	refused "$1" && grep -q 'No probed ethernet devices\|no available ports' /tmp/refused
}

# What a packet costs: with one CPU that counts its instructions, a nanosecond each.
measure() {	# RUN
	wakes=$(value 0 wakes) ticks=$(value 0 ticks)
	ping_it 1 100 >/tmp/ping
	wakes=$(($(value 0 wakes) - wakes)) ticks=$(($(value 0 ticks) - ticks))
	answer=$(sed -n 's,.*= [0-9]*\.0*[0-9.]*/0\.0*\([1-9][0-9]*\)/.*,\1,p' /tmp/ping)
	echo "count: $under run $1: $answer us from ping to answer," \
		"$((ticks / wakes)) instructions of the thread per wake-up, $wakes wake-ups for 100 packets"
	echo "$answer" >>/tmp/answer
	echo $((ticks / wakes)) >>/tmp/wake
}

# figure NAME UNIT FILE: what bench.py reads, of the runs in FILE.
figure() {
	case $under in uio_msix) peer=uio_msix ;; *) peer="vfio group" ;; esac
	sort -n "$3" | awk -v name="$1" -v unit="$2" -v peer="$peer" '
		{ of[NR] = $1 }
		END { printf "csv,%s,%s,DPDK on igb,1,%s,%d,%d,%d,%d\n", name, peer, unit,
			NR, of[1], of[int((NR + 1) / 2)], of[NR] }'
	rm "$3"
}

# The kernel's own test of VFIO devices.
kselftest() {
	LD_PRELOAD=$preload vfio_pci_device_test "$igb" >/tmp/kselftest 2>&1
	sed -n 's/^\(not \)*ok/# &/p' /tmp/kselftest
	grep -q 'Totals: pass:[3-5] fail:0' /tmp/kselftest
}

# What happens to the user is its affair: SIGBUS, as a rule.
unbound_in_traffic() {	# VERSION
	run_dpdk queues "$1" "$igb" 2 || return 1
	ping -q -f -c 100000 10.0.0.100 >/dev/null 2>&1 &
	pinger=$!
	sleep 2
	timeout 10 sh -c "echo $igb >/sys/bus/pci/drivers/uio_msix/unbind" || return 1
	sleep 1
	kill "$pinger" 2>/dev/null
	kill -9 "$pid" 2>/dev/null
	wait "$pid" 2>/dev/null
	exec 7>&-
	echo "$igb" >/sys/bus/pci/drivers/uio_msix/bind
}

# As anything that takes the device away, a reset ends the session: the next access to a
# register, at most a second later, is SIGBUS.
reset_by_another() {	# VERSION
	run_dpdk queues "$1" "$igb" 2 || return 1
	echo 1 >"/sys/bus/pci/devices/$igb/reset"
	until_true 10 test ! -e "/proc/$pid" || kill -9 "$pid"
	exec 7>&-
	wait "$pid"
	[ $? = 135 ]
}

# The VF, whose PF stays with the kernel. QEMU's gets packets in its first life only, with
# VFIO too: a boot of its own.
virtual_function() {	# VERSION
	take "$igb" igb
	echo 1 >"/sys/bus/pci/devices/$igb/sriov_numvfs"
	ip link set "$(ls "/sys/bus/pci/devices/$igb/net")" up
	until_true 20 grep -q 1 /sys/bus/pci/devices/"$igb"/net/*/carrier
	settle
	vf=$(device 1 8086:10ca)
	[ "$under" != uio_msix ] || echo Y >/sys/module/uio_msix/parameters/allow_unsafe_vf
	take "$vf" "$under"
	testpmd_answers "$1" "$vf" "igb VF"
	take "$vf" ""
	echo 0 >"/sys/bus/pci/devices/$igb/sriov_numvfs"
	take "$igb" "$under"
}

# Line by line, what VFIO and the library gave; what is listed in "differences" may differ,
# and must.
compare() {	# VFIO OURS
	awk -F ' [|] ' '
		function name(line) { sub(/: [^:]*$/, "", line); return line }
		function value(line) { sub(/.*: /, "", line); return line }
		file == 1 && /^[^#]/ { listed[$1] = $2 " " $3 }
		file == 2 { vfio[FNR] = $0; lines = FNR }
		file == 3 {
			call = name($0)
			differ = value(vfio[FNR]) " " value($0)
			if ($0 == vfio[FNR]) print "ok call: " call
			else if (call in listed && listed[call] == differ) { print "ok call: " call " (differs as listed)"; seen[call] }
			else print "not ok call: " vfio[FNR] " (VFIO), " $0
			ours = FNR
		}
		END {
			if (lines != ours || lines < 200) print "not ok call: " lines " lines, not " ours
			for (call in listed) if (!(call in seen)) print "not ok call: " call " does not differ as listed"
		}' file=1 /differences file=2 "$1" file=3 "$2"
}

mkdir -p /dev/hugepages /run /var
ln -s /run /var/run
mount -t hugetlbfs none /dev/hugepages
echo 128 >/proc/sys/vm/nr_hugepages
echo "# $(grep HugePages_Total /proc/meminfo)"
peer=$(device 1 8086:10d3)
card=$(ls "/sys/bus/pci/devices/$peer/net")
ip link set lo up
ip link set "$card" up
for i in 1 2 3 4; do
	ip address add 10.0.0.$i/24 dev "$card"
done
igb=$(device 1 8086:10c9)
vmxnet3=$(device 1 15ad:07b0)
em=$(device 2 8086:10d3)
virtio=$(device 1 1af4:1041)
versions=$(ls /dpdk)
newest=$(echo "$versions" | tail -n 1)
for address in "$igb" "$vmxnet3" "$em" "$virtio"; do
	take "$address" ""
done

# under DRIVER: what DPDK has its devices by.
under() {
	under=$1 preload='' vfio="with VFIO: "
	[ "$1" != uio_msix ] || preload=$library vfio=
	for address in "$igb" "$vmxnet3" "$em" "$virtio"; do
		[ -z "$address" ] || take "$address" "$1"
	done
}

case $what in
dpdk)
	check "this kernel has no VFIO" test ! -e /dev/vfio -a ! -e /sys/module/vfio
	under uio_msix
	for version in $versions; do
		testpmd_answers "$version" "$igb" igb
		testpmd_answers "$version" "$vmxnet3" vmxnet3
		[ -n "$short" ] || {
			testpmd_answers "$version" "$em" e1000e
			testpmd_answers "$version" "$virtio" virtio
		}
	done
	sleeper "$newest"
	[ -n "$short" ] || killed "$newest" 10
	check "a reset by somebody else ends it" reset_by_another "$newest"
	testpmd_answers "$newest" "$igb" "igb, after that"
	check "MSI is refused" refused "$newest" --vfio-intr=msi
	check "unbound in traffic" unbound_in_traffic "$newest"
	;;
dpdkiommu)
	under uio_msix
	check "with an IOMMU that translates, the device is left alone" translated "$newest"
	;;
dpdkcount)
	for driver in uio_msix vfio-pci; do
		under "$driver"
		check "queues $newest starts" run_dpdk queues "$newest" "$igb" 1
		ping_it 1 10 >/dev/null
		for run in 1 2 3 4 5; do
			measure "$run"
		done
		figure "ping to answer" us /tmp/answer
		figure "thread of a queue per wake-up" instructions /tmp/wake
		stop_dpdk >/dev/null
	done
	;;
dpdkvf)
	under uio_msix
	virtual_function "$newest"
	;;
dpdkvfio)
	under vfio-pci
	calls "$igb" >/tmp/vfio 2>&1
	under uio_msix
	LD_PRELOAD=$library calls "$igb" >/tmp/uio_msix 2>/tmp/refused
	sed 's/^/# /' /tmp/refused
	compare /tmp/vfio /tmp/uio_msix
	for driver in vfio-pci uio_msix; do
		under "$driver"
		check "kselftest" kselftest
		[ -n "$short" ] && [ -n "$vfio" ] || sleeper "$newest"
		[ -n "$short" ] || {
			testpmd_answers "$newest" "$igb" igb
			testpmd_answers "$newest" "$vmxnet3" vmxnet3
		}
	done
	;;
esac
