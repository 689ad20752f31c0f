# shellcheck shell=bash disable=SC2153
# SPDX-License-Identifier: GPL-2.0
#
# Running test suites, some of them beside the others, and adding up their results. To be
# sourced after common.sh and tap.sh by who sets (SC2153: elsewhere):
#   SUITES  command of each suite, by its name
#   BESIDE  which of them run beside the others; a space before and after each name
#   PLAIN   which print no TAP: all that counts is whether they succeed
#   LOGS    directory for what they print

PASSED=0 FAILED=0
# One line for each suite, for the summary, and what failed in them
RESULTS=() FAILURES=()

# run_beside SUITE...: prints name, status and seconds of each suite when it has ended
run_beside()
{
	local suite start status child

	# Each gets a process group, to end all that it has started
	set -m
	trap 'kill -- "-$child"; wait "$child"; exit' TERM
	for suite; do
		start=$SECONDS status=0
		# shellcheck disable=SC2086 # a command with its arguments
		${SUITES[$suite]} > "$LOGS/$suite.log" 2> "$LOGS/$suite.err" < /dev/null &
		child=$!
		wait "$child" || status=$?
		echo "$suite $status $((SECONDS - start))"
	done
}

# run_suite NAME: run it, or wait for its end, and add up its results
run_suite()
{
	local name=$1 log=$LOGS/$1.log start=$SECONDS status=0
	local seconds passed failed skipped note='' why

	printf '\n=== %s: %s\n' "$name" "${SUITES[$name]}"
	if [[ $BESIDE == *" $name "* ]]; then
		read -r name status seconds <&"$beside" || die "what runs beside has ended: run it again"
		cat "$log"
		cat "$LOGS/$name.err" >&2
	else
		# tee is waited for; stderr is kept, too, but can't be taken for TAP
		# shellcheck disable=SC2086 # a command with its arguments
		${SUITES[$name]} 2> >(tee "$LOGS/$name.err" >&2) < /dev/null | tee "$log" ||
			status=${PIPESTATUS[0]}
		seconds=$((SECONDS - start))
	fi
	if [[ $PLAIN == *" $name "* ]]; then
		passed=$((status == 0)) failed=$((status != 0)) skipped=0
		why=$(tail -q -n 5 "$log" "$LOGS/$name.err")
	else
		why=$(tap_failures "$log")
		read -r passed failed skipped note < <(tap_judge "$log" "$status")
	fi
	((!skipped)) || note+=" ($skipped skipped)"
	PASSED=$((PASSED + passed))
	FAILED=$((FAILED + failed))
	RESULTS+=("$(printf '%-21s %4d passed %4d failed  %s%s' "$name" "$passed" "$failed" \
		"$(duration "$seconds")" "${note:+, $note}")")
	printf '%s\n' "=== ${RESULTS[-1]}"
	((!failed)) || FAILURES+=("failed in $name, see $log:" "$why")
}

# The results of all suites, also if interrupted
summary()
{
	printf '\n'
	printf '%s\n' "${RESULTS[@]}"
	((!FAILED)) || printf '%s\n' "${FAILURES[@]}"
	printf 'all together %s; logs are in %s\n' "$(duration $SECONDS)" "$LOGS"
	printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
}

# run_suites SUITE...: runs all of them and prints the summary; fails if one of them did
run_suites()
{
	local suite lane others=()

	for suite; do
		[[ $BESIDE != *" $suite "* ]] || others+=("$suite")
	done
	exec {beside}< <(run_beside "${others[@]}")
	lane=$!
	# shellcheck disable=SC2064 # $lane is local
	trap "kill $lane 2> /dev/null || :" EXIT
	trap 'summary; exit 130' INT TERM
	for suite; do
		run_suite "$suite"
	done
	trap - INT TERM
	summary
	((FAILED == 0))
}
