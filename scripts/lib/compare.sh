# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Comparing what the same tests say on two kernels. To be sourced.

# verdicts LOG: "TIMES TEST = RESULT" for each test and subtest, sorted. A subtest is
# known by its test and its name; numbers, times and names of temporary files differ from
# run to run.
verdicts()
{
	awk '
	function verdict(line,    result) {
		result = line ~ /^not ok/ ? "fail" : "pass"
		if (tolower(line) ~ /# *skip/)
			result = "skip"
		sub(/^(not )?ok *[0-9]* *(- )?/, "", line)
		sub(/ *# .*/, "", line)
		gsub(/\/tmp\/[^ ]+/, "/tmp/#", line)
		gsub(/0x[0-9a-f]+/, "#", line)
		gsub(/[0-9]+/, "#", line)
		return line " = " result
	}
	/^# selftests: / { test = $3 " " $4; next }
	/^(not )?ok / { print verdict($0); next }
	/^(# )+(not )?ok / { sub(/^(# )+/, ""); print test ": " verdict($0) }
	' "$1" | LC_ALL=C sort | uniq -c | sed 's/^ *//'
}

# differences N LOG...: what the runs after the first N have that none of these N had, a
# line each. A result differs if it came more often, or less, than in any of them.
differences()
{
	local first=$1 log run=0

	shift
	for log; do
		run=$((run + 1))
		verdicts "$log" | sed "s/^/$run /"
	done | awk -v first="$first" -v runs=$# '
	{
		run = $1
		times = $2
		sub(/^[0-9]+ [0-9]+ /, "")
		results[$0]
		count[run, $0] = times
	}
	END {
		for (result in results) {
			low = high = count[1, result] + 0
			for (run = 2; run <= first; run++) {
				times = count[run, result] + 0
				low = times < low ? times : low
				high = times > high ? times : high
			}
			for (run = first + 1; run <= runs; run++) {
				times = count[run, result] + 0
				if (times < low || times > high)
					printf "%s: %d times in run %d, else %d to %d\n", result,
						times, run - first, low, high
			}
		}
	}' | LC_ALL=C sort
}

# passes LOG: how many tests and subtests passed
passes()
{
	verdicts "$1" | awk '/ = pass$/ { sum += $1 } END { print sum + 0 }'
}

# machine_ended LOG: did the machine whose output this is come to its end, without a
# report of the kernel? The last line tells.
machine_ended()
{
	[[ -e $1 && $(tail -n 1 "$1") == '# machine ended with status 0' ]]
}
