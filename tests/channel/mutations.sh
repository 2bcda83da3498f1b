#!/bin/sh
# Shows that chaos.py has teeth: mutations.sh [MUTATION...], by hand, some minutes each. Each patch in
# tests/channel/mutations puts one bug into a copy of the source; it is built, and chaos.py must fail
# with one of SEEDS. `mutations.sh --apply` only sees whether every patch still applies; that is in
# the suite.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/hf-mutations-XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
export GIT_CEILING_DIRECTORIES="$work"
chmod 711 "$work"

apply() {
	(cd "$work" && git apply -p1 "$@" "$patch") >"$work/said" 2>&1 && return
	cat "$work/said"
	echo "$name: the patch does not apply any more"
	return 1
}

copy() {
	(cd "$source" && tar -cf - --exclude=./build --exclude=./.git .) | tar -xf - -C "$work"
}

if [ "${1-}" = --apply ]; then
	copy
	failed=0
	for patch in "$source"/tests/channel/mutations/*.patch; do
		name=$(basename "$patch" .patch)
		apply --check || failed=1
	done
	exit $failed
fi

copy
(cd "$work" && cmake --preset release) >"$work/said" 2>&1 || { cat "$work/said"; exit 1; }
failed=0
for patch in "$source"/tests/channel/mutations/*.patch; do
	name=$(basename "$patch" .patch)
	[ $# -eq 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
	apply || { failed=1; continue; }
	(cd "$work" && cmake --build --preset release) >"$work/said" 2>&1 || { cat "$work/said"; exit 1; }
	caught=
	for seed in ${SEEDS:-11 12 13}; do
		(cd "$work" && HF_BUILD=build/release HF_SEED=$seed tests/channel/chaos.py) \
			>"$work/said" 2>&1 || { caught=$seed; break; }
	done
	echo "$name: ${caught:+seed $caught: }$(tail -1 "$work/said")"
	[ -n "$caught" ] || { echo "$name: NOT CAUGHT"; failed=1; }
	apply -R
done
exit $failed
