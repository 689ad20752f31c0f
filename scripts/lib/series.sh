# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What the series changes in the kernel's own code. To be sourced after kernel-tree.sh.

# Where that code is: not documentation, and not the tests
SERIES_CODE=(fs mm kernel include)

# added_lines: "FILE LINE" for each line of code that the tree has and its base has not
added_lines()
{
	tgit diff --no-color --no-ext-diff --no-renames --unified=0 "$BASE_TAG" -- \
		"${SERIES_CODE[@]}" | awk '
		/^\+\+\+ / { file = substr($2, 3) }
		/^@@ / {
			split(substr($3, 2), at, ",")
			count = $3 ~ /,/ ? at[2] : 1
			for (i = 0; i < count; i++)
				if (file ~ /\.[ch]$/)
					print file, at[1] + i
		}'
}

# functions_at FILE LINE...: the functions of this C file that these lines are in. Git
# tells of a hunk only which function begins before it.
functions_at()
{
	awk -v lines="${*:2}" '
	function end(    i) {
		for (i = first; name && i <= NR; i++)
			if (i in want) {
				print name
				break
			}
		name = ""
		first = 0
	}
	BEGIN { n = split(lines, a, " "); for (i = 1; i <= n; i++) want[a[i]] = 1 }
	# A function begins with a word at the margin, its body and end are braces there
	/^[A-Za-z_]/ && !inside {
		if (!first) {
			first = NR
			head = ""
		}
	}
	first && !inside { head = head " " $0 }
	/^\{/ && first {
		inside = 1
		gsub(/__[a-z]+\([^()]*\)/, "", head)
		if (match(head, /[A-Za-z_][A-Za-z_0-9]* *\(/)) {
			name = substr(head, RSTART, RLENGTH - 1)
			sub(/ +$/, "", name)
		}
	}
	/^\}/ { end(); inside = 0 }
	!inside && (/;[ \t]*$/ || /^$/ || /^#/) { first = 0 }
	' "$1" | LC_ALL=C sort -u
}

# changed_functions: those of the tree in which the series has lines
changed_functions()
{
	local file lines

	while read -r file lines; do
		# shellcheck disable=SC2086 # numbers
		functions_at "$TREE/$file" $lines
	done < <(added_lines | awk '{ at[$1] = at[$1] " " $2 } END { for (f in at) print f at[f] }') |
		LC_ALL=C sort -u
}

# racing_functions: a pattern for KCSAN's first line of a race in a function that the
# series changes. These have callers everywhere: it is no race of theirs if one of them
# is only further down in the report. A new one that is inlined has a changed caller.
racing_functions()
{
	printf 'BUG: KCSAN: .* in (.* / )?(%s)([.+ ]|$)\n' \
		"$(changed_functions | paste -s -d '|')"
}
