# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Completion of refalias for bash. The program's own help has the words.

_refalias()
{
	local word=${COMP_WORDS[COMP_CWORD]} words='' argument

	for argument in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		# Behind -- there are file names only, which is what bash takes by itself.
		[[ $argument != -- ]] || return 0
	done
	# Bash makes a word of its own of the equals sign.
	argument=${COMP_WORDS[COMP_CWORD - 1]}
	if [[ $word == = ]]; then
		word=
	elif [[ $argument == = ]]; then
		argument=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	if [[ $argument == --store ]]; then
		words='podman docker containerd auto'
	elif [[ $word == -* ]]; then
		argument=${COMP_WORDS[1]}
		[[ $argument != -* ]] || argument=
		words=$(refalias ${argument:+"$argument"} --help 2>/dev/null |
			grep -oE '^ {2}(-.,)? +--[a-z-]+' | grep -oE -- '--[a-z-]+')
	elif ((COMP_CWORD == 1)) || [[ $COMP_CWORD == 2 && ${COMP_WORDS[1]} == help ]]; then
		words=$(refalias --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
	fi
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}

complete -o default -F _refalias refalias
