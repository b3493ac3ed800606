#!/bin/bash
# Boot a built kernel in QEMU on a machine with real (emulated) PCI devices.
#
# Needs:  QEMU 8.0 or newer, for igb, and a compiler; installs them
# Makes:  the guest's output and its kernel's log in LOGDIR
# Prints: what the guest says, of kselftests a line each (with V=1 all of it);
#         exit code 1 if it does not say that it is done, or if its kernel
#         reports what it did not report without the series
# Usage:  [LIMIT=SECONDS] [MULTI=1] [V=1] [EXTRA=CPIO] boot.sh BUILD BOOT LOGDIR
#         [ARGUMENT...]
#         BOOT is one that tests/guest/init.sh knows, ARGUMENTs are for it; "baseline"
#         first. BOOT:WORD adds an argument, and names the logs BOOT-WORD. LIMIT
#         is how long the guest may be silent: a busy host makes it slow
. "$(dirname "$0")/lib.sh"

build=$1 what=${2%%:*} name=${2/:/-} logs=$3
word=${2#"$what"} word=${word#:}
shift 3
console=$logs/$name-console.log
limit=${LIMIT:-600}

if [ -f "$build/arch/arm64/boot/Image" ]; then
	qemu="qemu-system-aarch64" package=qemu-system-arm
	machine=(-M "virt,gic-version=3,its=on")
	# The BARs of rocker get a 64 KB page each, those of others share one.
	args="pci=resource_alignment=pci:1b36:0006"
else
	qemu="qemu-system-x86_64" package=qemu-system-x86
	# Else QEMU unplugs by ACPI what is behind a root port.
	machine=(-M q35 -global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off)
	# On a busy host the watchdog takes the TSC of QEMU, which is one clock for
	# all CPUs, for unstable; guests were seen to hang once it was given up. Nor
	# are four ticks in time for the kernel, which then panics.
	args="intel_iommu=on tsc=reliable no_timer_check"
fi
[ "$what" != nomsi ] || args+=" pci=nomsi"
has_igb() { "$qemu" -device help 2>/dev/null | grep -q '"igb"'; }
has_igb || {
	case $(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release) in
	bookworm) install_packages bookworm-backports "$package" ;;
	*) install_packages "" "$package" ;;
	esac
	has_igb || die "$("$qemu" --version | head -n 1) has no igb device: 8.0 or newer is needed"
}

# KVM is worth it only where a guest really boots with it: on some hosts
# /dev/kvm exists and a stock kernel hangs. Asked once for this cache; the IOMMU
# needs the split irqchip. Without KVM the two CPUs take turns in one thread:
# with a thread each, QEMU 10.0 aborts now and then (iotlb_to_section) when a
# reset moves a BAR that is in use. Without la57: an interrupt while 7.3 clears
# what it knows of the boot CPU, and KASAN takes good addresses for wild ones.
accel() {
	local probe=$CACHE/accel-2
	if [ "$qemu" = qemu-system-aarch64 ]; then
		echo "tcg,thread=single -cpu cortex-a57"
		return
	fi
	if [ ! -f "$probe" ]; then
		if [ -w /dev/kvm ] && timeout 20 "$qemu" -accel kvm,kernel-irqchip=split -M q35 -cpu host -m 512 \
			-display none -no-reboot -kernel "$build/guest/kernel" \
			-initrd "$build/guest/initramfs" -append "guest=none panic=-1" \
			-serial null -serial stdio </dev/null 2>/dev/null | grep -q 'guest: done'
		then
			echo "kvm,kernel-irqchip=split -cpu host"
		else
			echo "tcg,thread=single -cpu max,la57=off"
		fi >"$probe.tmp"
		mv "$probe.tmp" "$probe"
	fi
	cat "$probe"
}

mkdir -p "$logs"
sock=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || :; rm -rf "$sock"' EXIT

# For the guest to pull devices and cables.
monitor=(
	-device virtio-serial-pci
	-chardev "socket,id=hmp,path=$sock/hmp,server=on,wait=off"
	-mon chardev=hmp,mode=readline
	-chardev "socket,id=monitor,path=$sock/hmp"
	-device virtserialport,chardev=monitor,name=monitor
)
machine+=(-m 1G -smp 2 -nodefaults -display none -no-reboot)
# It need not be one, but to be there.
head -c 65536 /dev/zero >"$sock/rom"
case $what in
iommu) machine+=(-device intel-iommu,intremap=on,caching-mode=off) ;;
nointremap)
	machine+=(-device intel-iommu,intremap=off,caching-mode=off)
	args+=" threadirqs" ;;
esac
# Port 4 stays empty: it is the bridge to be refused.
for port in 1 2 3 4 5; do
	machine+=(-device "pcie-root-port,id=rp$port,chassis=$port,slot=$port")
done
machine+=(
	-device igb,bus=rp1,romfile=
	-device nvme-subsys,id=ss
	-device nvme,bus=rp2,serial=uio,subsys=ss,sriov_max_vfs=2,sriov_vq_flexible=4,sriov_vi_flexible=2,max_ioqpairs=6,msix_qsize=7
	-device igb,bus=rp3,id=pulled,romfile=
	-device "e1000e,romfile=$sock/rom"
	-device rocker
	-device nvme,bus=rp5,serial=big,msix_qsize=300
	-device vmxnet3,romfile=
	-device virtio-rng-pci,disable-legacy=on
	-object memory-backend-ram,id=shm,size=1M,share=on
	-device ivshmem-plain,memdev=shm
	"${monitor[@]}"
)
# It has I/O ports, and pages before its MSI-X table.
[[ $what != faults && $word != megasas* ]] || machine+=(-device megasas)
# Two that cannot be told apart by the IOMMU, for want of ACS.
[ "$what" != iommu ] ||
	machine+=(-device "rocker,name=shared,addr=1e.0,multifunction=on"
		-device "virtio-rng-pci,addr=1e.1")

# Side by side, for those who want races: then QEMU's own failure is no result.
# Nor is it when one CPU pulls a device from under the access of another. And
# where a BAR moves, QEMU 10.0 may send a write of another CPU astray: one to the
# local APIC that is lost can stop the timer of that CPU. x2APIC is not written
# to in memory, but needs interrupt remapping. For multi=1 see tests/modules/kick.
cpus=$(accel)
[ -z "${MULTI:-}" ] || case $what in
racesplug) ;;
benchfire) cpus=${cpus/single/multi} ;;
*)
	cpus=${cpus/single/multi}
	machine+=(-device "intel-iommu,intremap=on,eim=on")
	args="${args/intel_iommu=on/intel_iommu=off} multi=1" ;;
esac

# To measure: other devices. One CPU, whose clock counts its instructions and
# leaps where it sleeps, and nothing random; or KVM and its time.
case $what in
bench|benchkvm)
	machine=(-M q35 -m 1G -nodefaults -display none -no-reboot -device igb,romfile=)
	# Two vectors for each port, and two more.
	for n in {0..31}; do
		machine+=(-netdev "hubport,id=n$n,hubid=$n")
	done
	machine+=(-device "{'driver': 'rocker', 'ports': [$(printf "'n%d'," {0..30})'n31']}")
	for n in 1 64 2048; do
		machine+=(-device "nvme,serial=n$n,msix_qsize=$n")
	done
	args="tsc=reliable nokaslr norandmaps vfio.enable_unsafe_noiommu_mode=1" ;;
benchpackets)
	# What sends and receives, and what fills its rings: on one wire.
	machine=(-M q35 -m 1G -nodefaults -display none -no-reboot)
	for card in igb,id=igb vmxnet3,id=vmxnet3 igb,id=source; do
		id=${card#*id=}
		machine+=(-netdev "hubport,id=n$id,hubid=0" -device "$card,netdev=n$id,romfile=")
	done
	args="tsc=reliable nokaslr norandmaps" ;;
demo*)
	# Two network cards on one wire: ours, and the one of the guest's kernel.
	card=igb
	[ "$what" != demomediated ] || card=vmxnet3
	machine=(-M q35 -m 1G -smp 2 -nodefaults -display none -no-reboot
		-device "pcie-root-port,id=rp1"
		-netdev "hubport,id=ours,hubid=0"
		-device "$card,id=$card,bus=rp1,netdev=ours,romfile="
		-netdev "hubport,id=peer,hubid=0" -device "e1000e,netdev=peer,romfile="
		"${monitor[@]}") ;;
# The same for the mediated driver; and what forges completions, and what shows that
# uio_msix is as it was.
mediated*)
	machine=(-M q35 -m 1G -smp 2 -nodefaults -display none -no-reboot
		-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off)
	[[ $what != mediated*iommu ]] || {
		machine+=(-device intel-iommu,intremap=on,caching-mode=off)
		args+=" iommu.strict=1"
	}
	for port in 1 2; do
		machine+=(-device "pcie-root-port,id=rp$port,chassis=$port,slot=$port")
	done
	machine+=(
		-netdev "hubport,id=ours,hubid=0"
		-device "vmxnet3,id=vmxnet3,bus=rp1,netdev=ours,romfile="
		-netdev "hubport,id=peer,hubid=0" -device "e1000e,netdev=peer,romfile="
		-device igb,bus=rp2,romfile= -device rocker
		"${monitor[@]}") ;;
# For tests/guest/field.c and its neighbours, and patches/wc.
field|wc|onecpu|kexec)
	packages python3
	machine=(-M q35 -m 1G -smp 2 -nodefaults -display none -no-reboot
		-global ICH9-LPC.acpi-pci-hotplug-with-bridge-support=off "${monitor[@]}")
	# A disk whose sectors begin with their numbers.
	python3 -c 'import sys
for i in range(2048): sys.stdout.buffer.write(i.to_bytes(512, "little"))' >"$sock/disk" ;;
esac
disk() { echo "id=$1,file=$sock/disk,file.locking=off,format=raw,if=none,read-only=on"; }
initramfs=$build/guest/initramfs
case $what in
field|wc)
	"$TOP/tests/ivshmem.py" "$sock/ivshmem" 8 &
	for _ in {1..100}; do
		[ -S "$sock/ivshmem" ] || sleep 0.1
	done
	# The memory below port 3 is beyond 4 GB.
	for port in 1 2 3 4 5; do
		machine+=(-device "pcie-root-port,id=rp$port,chassis=$port,slot=$port,addr=1$port$([ $port != 3 ] || echo ,pref64-reserve=8G)")
	done
	machine+=(
		-device "igb,bus=rp1,romfile="
		-device "qemu-xhci,bus=rp2,id=plugged"
		-device "nvme,bus=rp3,id=memory,serial=memory,cmb_size_mb=1"
		-device "igb,bus=rp4,addr=0.0,multifunction=on,x-pcie-ari-nextfn-1=on,romfile="
		-drive "$(disk beside)" -device "nvme,bus=rp4,addr=0.1,serial=beside,drive=beside"
		-device "rocker,bus=rp5,addr=0.0,multifunction=on" -device "virtio-rng-pci,bus=rp5,addr=0.1"
		-drive "$(disk drive)" -device "nvme,addr=8,serial=drive,drive=drive"
		-device "pcie-root-port,id=rp6,chassis=6,slot=6,addr=16,hotplug=off" -device "x3130-upstream,id=up,bus=rp6"
		-device "xio3130-downstream,id=down,bus=up,chassis=7,slot=7"
		-device "nvme,bus=down,serial=switch"
		-chardev "socket,id=ivshmem,path=$sock/ivshmem"
		-device "ivshmem-doorbell,vectors=8,chardev=ivshmem") ;;
onecpu)
	# An old machine, whose slots are conventional and whose handlers are threads.
	machine+=(-M pc -smp 1 -device "nvme,serial=big,msix_qsize=300" -device rocker
		-device e1000e,romfile= -device "nvme,serial=odd,msix_qsize=257"
		-device "nvme,serial=one,msix_qsize=1")
	args+=" threadirqs" ;;
kexec)
	# Slow, for it to read long after.
	machine+=(-drive "$(disk slow),throttling.iops-total=2" -device "nvme,serial=slow,drive=slow")
	args+=" memmap=1M\$0x30000000"
	mkdir "$sock/kexec"
	cp "$build/guest/kernel" "$initramfs" "$sock/kexec"
	(cd "$sock" && find kexec | cpio -o -H newc --quiet -R 0:0) | cat "$initramfs" - >"$sock/initramfs"
	initramfs=$sock/initramfs ;;
esac
# DPDK has all cards on the wire but the first e1000e, which is the kernel's.
case $what in
dpdk*)
	machine=(-M q35 -m 2G -smp 2 -nodefaults -display none -no-reboot)
	[ "$what" != dpdkiommu ] || machine+=(-device "intel-iommu,intremap=on")
	machine+=(-device "pcie-root-port,id=rp1")
	for card in "e1000e,id=peer" "igb,id=igb,bus=rp1" "vmxnet3,id=vmxnet3" "e1000e,id=em" \
		"virtio-net-pci,id=virtio,disable-legacy=on"; do
		id=${card#*id=} id=${id%%,*}
		machine+=(-netdev "hubport,id=n$id,hubid=0" -device "$card,netdev=n$id,romfile=")
	done
	machine+=("${monitor[@]}")
	args="tsc=reliable vfio.enable_unsafe_noiommu_mode=1 intel_iommu=on" ;;
esac
case $what in
bench|benchpackets|dpdkcount)
	cpus="tcg -cpu max"
	machine+=(-smp 1 -icount "shift=0,sleep=off" -seed 1 -rtc "base=2026-01-01,clock=vm")
	args+=" tsc_early_khz=1000000" ;;
benchkvm) machine+=(-smp 2) ;;
benchfire) args+=" vfio.enable_unsafe_noiommu_mode=1" ;;
esac
case $cpus-$(uname -m)-$args in
*tsc_early_khz*|kvm*) ;;
tcg*-x86_64-*tsc=*)
	[ -x "$CACHE/tsc" ] || {
		packages gcc libc6-dev
		gcc -O2 -o "$sock/tsc" "$TOP/scripts/tsc.c"
		mv "$sock/tsc" "$CACHE/tsc"
	}
	args+=" tsc_early_khz=$("$CACHE/tsc")" ;;
esac
# What a debug kernel reports, a line each without times and addresses, and of
# locks without how they were used before.
reports() {
	tr -d '\r' <"$1" | awk '
		/WARNING: |BUG[: ]|INFO: (possible|trying|task|rcu)|UBSAN: |Oops|general protection|unreferenced object|DEBUG_LOCKS_WARN|cannot create duplicate/ {
			if (report) print report
			report = $0
			sub(/^\[[^]]*\] /, "", report)
			sub(/\+0x.*/, "", report)
			if (match($0, /[a-z0-9_\/-]+\.[ch]:[0-9]+/))
				report = "WARNING: " substr($0, RSTART, RLENGTH)
			locks = /INFO: possible|WARNING: possible/ ? 2 : 0
			if (!locks) { print report; report = "" }
			next
		}
		locks && /, at: / {
			sub(/^.*\(/, "(")
			sub(/\{.*\}-\{[0-9:]*\}/, "")
			sub(/\+0x.*/, "")
			report = report " " $0
			if (!--locks) { print report; report = "" }
		}
		END { if (report) print report }' | sort -u
}

# What the console says that it does not say without the series.
new_reports() {
	reports "$console" | grep -vxF -f "$logs/baseline.reports" |
		grep -vxE -f "$sock/known" || :
}

# Run COMMAND until it ends, or the guest has been silent for too long. Its
# kernel does not count: that goes on to tell of tasks that hang.
watched() {
	local pid watch
	"$@" &
	pid=$!
	while kill -0 $pid; do
		read -r -t 5 <>"$sock/nothing" || :
		[ $(($(date +%s) - $(stat -c %Y "$logs/$name.log"))) -lt "$limit" ] || {
			touch "$sock/silent"
			kill -9 $pid
		}
	done >/dev/null 2>&1 &
	watch=$!
	wait $pid || :
	kill $watch 2>/dev/null || :
}

# What the guest says. Of the kselftests, a line for each; what one says itself
# only if it fails.
short() {
	local line device='' said=() result coverage=''
	while IFS= read -r line; do
		line=${line%$'\r'}
		case $line in
		"guest: coverage "*) coverage=1 ;;
		"guest: end") coverage= ;;
		"guest: done") ;;
		"guest: device "*)
			read -r _ _ device _ <<<"$line"
			said=() ;;
		*)
			[ -z "$coverage" ] || continue
			# Another program.
			[[ $line != "guest: "* ]] || device=
			if [[ -z $device || $line = "not ok"* || $line = "guest: "* ]]; then
				[[ $line != "not ok"* ]] || printf '%s' "${said[@]}"
				printf '%s: %s\n' "$name" "$line"
			elif [[ $line =~ ^#\ (not )?ok\ [0-9]+\ ([^ ]*\.)?([^ ]+)(.*SKIP *(.*))? ]]; then
				result=ok
				[ -z "${BASH_REMATCH[4]}" ] || result=skip
				[ -z "${BASH_REMATCH[1]}" ] || {
					result=FAILED
					printf '%s' "${said[@]}"
				}
				printf '%-16s %-6s %s\n' "$device" "$result" \
					"${BASH_REMATCH[3]}${BASH_REMATCH[5]:+: ${BASH_REMATCH[5]}}"
				said=()
			else
				said+=("$line"$'\n')
			fi ;;
		esac
	done
}

mkfifo "$sock/nothing"
sed -n '/^[^#]/p' "$TOP/tests/known.reports" >"$sock/known"
if [ -n "${EXTRA:-}" ]; then
	cat "$initramfs" "$EXTRA" >"$sock/extra"
	initramfs=$sock/extra
fi
finished() { tr -d '\r' <"$logs/$name.log" | grep -qx 'guest: done'; }
for try in 1 2 3; do
	rm -f "$sock/silent"
	: >"$console"
	: >"$logs/$name.log"
	# shellcheck disable=SC2086 # two words
	watched "$qemu" -accel $cpus "${machine[@]}" \
		-kernel "$build/guest/kernel" -initrd "$initramfs" \
		-append "console=ttyS0 console=ttyAMA0 loglevel=8 panic=-1 oops=panic kasan.fault=panic rcupdate.rcu_cpu_stall_timeout=120 $args guest=$what -- $* $word" \
		-serial "file:$console" -serial stdio \
		</dev/null 2>"$logs/$name-qemu.log" |
		tee -a "$logs/$name.log" | if [ "${V:-}" = 1 ]; then sed -u "s/^/$name: /"; else short; fi || :
	if grep -q iotlb_to_section "$logs/$name-qemu.log"; then
		say "$name: QEMU aborted by itself: once more"
	elif [ -n "${MULTI:-}" ] && [ -f "$sock/silent" ] && ! finished &&
	     [ $try != 3 ] && ! new_reports | grep -qv 'INFO: \(task\|rcu\)'; then
		# See tests/modules/kick. The third time it counts.
		mv "$console" "$logs/$name-hung-$try-console.log"
		say "$name: silent for $limit s with CPUs side by side: once more; log: $logs/$name-hung-$try-console.log"
	else
		break
	fi
done

new=
[ "$what" = baseline ] || new=$(new_reports)
new=${new%%$'\n'*}
finished ||
	die "$name: the guest did not finish$(! [ -f "$sock/silent" ] || echo " (silent for $limit s)"): ${new:-$(tail -q -n 1 "$logs/$name-qemu.log" "$console" 2>/dev/null | tail -n 1)}; log: $console"

# The same steps without the series are the baseline.
if [ "$what" = baseline ]; then
	reports "$console" >"$logs/baseline.reports"
	sed 's/^/reported without uio_msix too: /' "$logs/baseline.reports"
	exit
fi
reports "$console" | grep -xE -f "$sock/known" | sed "s/^/$name: known, see tests\/known.reports: /" || :
[ -z "$new" ] || die "$name: the kernel reports: $new; log: $console"
