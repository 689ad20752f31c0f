# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Printing TAP, and reading what test suites print. To be sourced.

TAP_NUMBER=0 TAP_FAILED=0

# tap_result STATUS NAME: prints the next result; the test passed if STATUS is 0
tap_result()
{
	TAP_NUMBER=$((TAP_NUMBER + 1))
	if (($1)); then
		echo "not ok $TAP_NUMBER - $2"
		TAP_FAILED=1
	else
		echo "ok $TAP_NUMBER - $2"
	fi
}

# tap_end: prints the plan of the results so far; fails if one of them did
tap_end()
{
	echo "1..$TAP_NUMBER"
	return "$TAP_FAILED"
}

# tap_count LOG: prints how many tests passed, failed, were skipped for want of a
# file system, and were planned (-1: no plan). So is what is skipped for being there
# since a Linux that is newer than the one that the log names in a line "# Linux X.Y".
# A test skipped for any other reason failed: something was not tested. Indented lines
# are subtests, which their own test sums up.
tap_count()
{
	awk '
	# version TEXT: of the Linux that it names, as a number
	function version(text,    part) {
		if (!match(text, /linux [0-9]+\.[0-9]+/))
			return 0
		split(substr(text, RSTART + 6, RLENGTH - 6), part, ".")
		return part[1] * 1000 + part[2]
	}
	/^# Linux [0-9.]+$/ { running = version(tolower($0)) }
	/^1\.\.[0-9]+/ {
		planned += substr($0, 4)
		plans++
	}
	/^not ok/ { failed++ }
	/^ok/ {
		if (!match(tolower($0), /# *skip/))
			passed++
		else if (tolower(substr($0, RSTART)) ~ /xfs|btrfs|ext4|overlay|file ?system/)
			skipped++
		else if (tolower($0) ~ /since linux [0-9]/ && running && running < version(tolower(substr($0, RSTART))))
			skipped++
		else
			failed++
	}
	END { print passed + 0, failed + 0, skipped + 0, plans ? planned : -1 }' "$1"
}

# tap_judge LOG STATUS: prints passed, failed and skipped tests of a suite that
# ended with STATUS, and what else is wrong with it, which counts as one more
# failure.
tap_judge()
{
	local passed failed skipped planned note=''

	read -r passed failed skipped planned < <(tap_count "$1")
	if ((planned < 0)); then
		note="no plan"
	elif ((planned != passed + failed + skipped)); then
		note="$((passed + failed + skipped)) results but $planned planned"
	elif (($2 && !failed)); then
		note="ended with status $2"
	elif ((passed + failed == 0)); then
		note="nothing was tested"
	fi
	[[ -z $note ]] || failed=$((failed + 1))
	echo "$passed $failed $skipped $note"
}

# tap_failures LOG: prints the tests that failed, each with up to five lines that
# its program printed since the result before: it says there what was wrong.
tap_failures()
{
	awk '
	/^#/ { said[++n] = $0 }
	/^not ok/ {
		for (i = n > 5 ? n - 4 : 1; i <= n; i++)
			print said[i]
		print
	}
	/^(not )?ok/ { n = 0 }' "$1"
}
