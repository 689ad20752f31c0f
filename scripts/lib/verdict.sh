# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What a run of tests says about the mutant that they ran on. To be sourced.

# verdict LOG STATUS: prints killed, survived or error, and why. The tests stop at the
# first that fails, so only the last one that began can have failed.
verdict()
{
	local log=$1 status=$2 test name said assertion='' timeout=''

	test=$(sed -n 's/^# test //p' "$log" | tail -n 1)
	name=${test#*:}
	said=$(tac "$log" | sed '/^# test /q' | tac)
	! grep -q "^# $name: Test terminated by timeout$" <<< "$said" || timeout=1
	# What kselftest_harness.h prints for an assertion that fails, like
	# "# proof.c:483:late_write_donor:Expected 0 (0) == memcmp(...) (1)". Tests print
	# other lines that begin like that.
	if [[ ! $timeout ]] && grep -qE "^not ok [0-9]+ ([^ ]*\.)?$name( |$)" <<< "$said"; then
		assertion=$(grep -m 1 -E "^# [a-z_]+\.[ch]:[0-9]+:$name:Expected " <<< "$said") || :
	fi
	if [[ -z $test ]]; then
		echo "error no test was run"
	elif [[ $assertion ]]; then
		echo "killed $test: ${assertion#\# }"
	elif grep -q ': the kernel reported a problem' "$log"; then
		echo "killed $test: $(sed -n '/^----- the kernel reported/{n;p;q}' "$log" |
			sed -E 's/^(\[[^]]*\] *)*//')"
	elif [[ $timeout ]]; then
		echo "error $test did not come to its end"
	elif ((status)); then
		echo "error $test ended without an assertion, status $status"
	elif grep -iE '^ok.*# *skip' "$log" | grep -qvF '# SKIP only XFS '; then
		echo "error a test was skipped"
	else
		echo "survived"
	fi
}
