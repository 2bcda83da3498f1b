# Installs what is missing and builds; sourced by scripts/run, scripts/lab and scripts/test.
# Safe to run again: it asks dpkg first and calls apt only for what is not there.

HF_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# ensure_packages GROUP...: the Debian packages of these groups. Services of installed packages are
# not started.
ensure_packages() {
	local missing=() name groups=" $* " log
	while read -r group name; do
		[[ $group == \#* || -z $name || $groups != *" $group "* ]] && continue
		dpkg-query -W -f '${Status}\n' "$name" 2>/dev/null | grep -q '^install ok installed$' ||
			missing+=("$name")
	done <"$HF_TOP/scripts/lib/packages"
	[ ${#missing[@]} -eq 0 ] && return 0
	[ "$(id -u)" -eq 0 ] || die "these packages are missing and only root can install them: ${missing[*]}"
	say "installing ${missing[*]}"
	log=$(mktemp)
	(
		export DEBIAN_FRONTEND=noninteractive
		policy=/usr/sbin/policy-rc.d
		if [ ! -e $policy ]; then
			printf '#!/bin/sh\nexit 101\n' >$policy
			chmod 0755 $policy
			trap 'rm -f /usr/sbin/policy-rc.d' EXIT
		fi
		options=(-y --no-install-recommends -o DPkg::Lock::Timeout=120)
		apt-get install "${options[@]}" "${missing[@]}" ||
			{ apt-get update && apt-get install "${options[@]}" "${missing[@]}"; }
	) >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "apt-get could not install ${missing[*]}"; }
	rm -f "$log"
}

# ensure_build PRESET [TARGET...]: configures once, then builds what changed.
ensure_build() {
	local preset=$1 log
	shift
	log=$(mktemp)
	(
		cd "$HF_TOP"
		cmake --preset "$preset" && cmake --build --preset "$preset" ${*:+--target "$@"}
	) >"$log" 2>&1 || { tail -n 40 "$log" >&2; die "the build failed"; }
	rm -f "$log"
}
