#!/bin/bash
# The demonstration: a userspace network driver on uio_msix answers the kernel
# of the guest, on a PF and on a VF, and one on uio_vmxnet3, as a user without a
# capability; with "test", the tests of the first.
#
# Needs:  what run.sh needs; installs ping and hping3
# Makes:  out/demo, out/demotest (or LOGS): logs, and "summary" with the counts
# Prints: what happens in the guest; "demo: N sent, N answered, N lost" last,
#         or "demotest: N passed, N failed"
# Usage:  demo.sh [test [PACKETS]]
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/modules.sh"

logs=${LOGS:-$TOP/out/demo${1:-}}
exclusive
rm -rf "$logs"
mkdir -p "$logs"

tree=$("$TOP/scripts/tree.sh")
build=$CACHE/build-linux-x86_64-bench
"$TOP/scripts/build.sh" "$tree" "$build" x86_64-bench
# On a plain kernel there is nothing to be known before.
: >"$logs/baseline.reports"

failed=0
if [ "${1:-}" = test ]; then
	stage "boot: demotest"
	"$TOP/scripts/boot.sh" "$build" demotest "$logs" "${@:2}" || failed=1
	awk -v failed="$failed" '
		/^ok / { passed++ }
		/^not ok/ { failed++ }
		END {
			printf "demotest: %d passed, %d failed\n", passed, failed
			exit failed > 0
		}' "$logs/demotest.log" | tee "$logs/summary"
	exit
fi

stage "build the modules of patches/mediated"
mediated_modules "$build"
for boot in demo demovf demomediated; do
	stage "boot: $boot"
	extra=
	[ "$boot" != demomediated ] || extra=$build/guest/mediated.cpio
	EXTRA=$extra "$TOP/scripts/boot.sh" "$build" "$boot" "$logs" || failed=1
	! grep -q '^not ok' "$logs/$boot.log" || failed=1
done
# What the peer did is "... 5 packets transmitted, 4 received, ...", and the host
# ends with the interrupts per packet.
awk -v failed="$failed" '
	FNR == 1 { name = FILENAME ~ /mediated/ ? "vmxnet3" : FILENAME ~ /vf/ ? "VF" : "PF" }
	sub(/^rights: /, "") { sub(/\r$/, ""); rights[name] = $0 }
	match($0, /[0-9]+ packets transmitted, [0-9]+ received/) {
		split(substr($0, RSTART), word, " ")
		sent[name] += word[1]; answered[name] += word[4]
		sent["all"] += word[1]; answered["all"] += word[4]
	}
	/interrupts per packet/ { host[name] = $0 }
	function line(name) {
		return sprintf("%d sent, %d answered, %d lost", sent[name],
			answered[name], sent[name] - answered[name])
	}
	END {
		split("PF VF vmxnet3", names, " ")
		for (i = 1; i <= 3; i++) {
			name = names[i]
			print name ": " line(name) "; host: " host[name] "; " rights[name]
			failed += !sent[name]
		}
		print "demo: " line("all")
		failed += rights["vmxnet3"] != "uid 1000, capabilities 0000000000000000, no TAINT_USER"
		exit failed || answered["all"] < sent["all"]
	}' "$logs/demo.log" "$logs/demovf.log" "$logs/demomediated.log" | tee "$logs/summary"
