#!/bin/bash
# Record how a long run in full ended, for README and the cover letter.
#
# Needs:  to publish, the kernel tree: the description of its branch is the text
#         of the cover letter
# Makes:  out/long/NAME: the commit, what ran and the last line it printed. With
#         PUBLISH=1 the table of all that are there, and of what README.md has of
#         others, between the markers of README.md and the lines "In full, and the
#         commit:" and '"make check-all" runs each in short, bench as it is.' of the cover letter
# Usage:  [PUBLISH=1] record.sh [NAME COMMIT WHAT LINE]
. "$(dirname "$0")/lib.sh"

records=$TOP/out/long
mkdir -p "$records"
if [ $# != 0 ]; then
	printf '%s\t%s\t%s\n' "$2" "$3" "$4" >"$records/$1"
fi
[ -n "${PUBLISH:-}" ] || exit 0

# What ran where out/ is not.
# shellcheck disable=SC2016 # marks of the table
while read -r name line; do
	[ -f "$records/$name" ] || printf '%s\n' "$line" >"$records/$name"
done < <(sed -nE 's/^\| `make ([a-z]+)` \| (.*) \| `(.*)` \| ([0-9a-f+]+) \|$/\1 \4\t\2\t\3/p' "$TOP/README.md")

# The table instead of what is between the lines BEGIN and END.
put() {	# FILE BEGIN END TABLE
	awk -v begin="$2" -v end="$3" -v table="$4" '
		$0 == end { inside = 0 }
		!inside { print }
		$0 == begin { print table; inside = found = 1 }
		END { exit inside || !found }' "$1" >"$records/.new" ||
		die "no place for the long runs in $1"
	cat "$records/.new" >"$1"
	rm "$records/.new"
}

readme='| | | last line | commit |
| --- | --- | --- | --- |'
cover=
for name in races fuzz soak mutants coverage bench; do
	[ -f "$records/$name" ] || continue
	IFS=$'\t' read -r commit what line <"$records/$name"
	readme+=$'\n'"| \`make $name\` | $what | \`$line\` | $commit |"
	cover+=$'\n'"$(printf '%-8s  %-40s  %s\n          %s' "$name" "$what" "$commit" "${line#"$name: "}")"
done
put "$TOP/README.md" '<!-- long runs -->' '<!-- end of long runs -->' "$readme"

tree=$CACHE/linux
git -C "$tree" config branch.series.description >"$records/.cover"
put "$records/.cover" 'In full, and the commit:' '"make check-all" runs each in short, bench as it is.' \
	"$cover"$'\n'
git -C "$tree" config branch.series.description "$(cat "$records/.cover")"
rm "$records/.cover"
