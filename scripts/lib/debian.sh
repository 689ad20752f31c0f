# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Trees of Debian packages, from where this machine's apt takes them. Sourced after
# common.sh.

# shellcheck source=/dev/null
SUITE=$(. /etc/os-release && echo "$VERSION_CODENAME")

# debian_sources SUITE...: the packages' sources, as lines of a sources.list
debian_sources()
{
	local suites

	suites=$(IFS='|' && echo "$*")
	# shellcheck disable=SC2016 # these are apt's variables
	apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Created-By: Packages' 'Origin: Debian' 'Component: main' |
		sed -n -E "/ ($suites) /p"
}

# The options that make mmdebstrap reach them as this machine's apt does
debian_apt_options()
{
	apt-config dump | sed -n -E \
		'/^Acquire::(https?::Proxy.*|Check-Valid-Until) "/s/^/--aptopt=/p'
}

# debian_tree TARGET PACKAGE[,PACKAGE...] [VARIANT [SUITE...]]: install these packages
# into a tree of its own, a directory or a tar archive; what is needed meanwhile is put
# beside it. VARIANT is one of mmdebstrap's: minbase if there is none, a system that can
# be started. Without a SUITE the packages are the newest ones.
debian_tree()
{
	local name options suite
	local -a suites=("${@:4}")

	name=$(basename "$1" .tar)
	((${#suites[@]})) || suites=("$SUITE" "$SUITE-updates" "$SUITE-security")
	for suite in "${suites[0]}" "${@:4}"; do
		[[ -n $(debian_sources "$suite") ]] ||
			die "apt knows of no packages of Debian $suite; run 'apt-get update' first"
	done
	say "$name: installing Debian $SUITE with ${2//,/, } into a tree of its own"
	mapfile -t options < <(debian_apt_options)
	debian_sources "${suites[@]}" | TMPDIR=$(dirname "$1") mmdebstrap --quiet --mode=root \
		--variant="${3:-minbase}" --include="$2" --dpkgopt=force-unsafe-io \
		"${options[@]}" "$SUITE" "$1" - ||
		die "mmdebstrap could not make a tree with ${2//,/, };" \
			"see above, and try again after 'apt-get update'"
}
