#!/bin/sh
# Shows that a simulator has teeth: mutations.sh sim_crash|sim_ring|sim_channel|sim_plane [MUTATION...].
# Each patch in tests/sim/mutations/SIMULATOR puts one bug into copies of source files; linked into
# the simulator they must be caught within RECOVERIES; of those that are not named only whether they
# still apply. Without a bug the same work must pass. The build folder comes in HF_BUILD.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
build=${HF_BUILD:?the build folder}
program=$1
case $program in
sim_channel) recoveries=${RECOVERIES:-400000} ;; # commands
sim_plane) recoveries=${RECOVERIES:-30000} ;; # commands
*) recoveries=${RECOVERIES:-6000} ;;
esac
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
export GIT_CEILING_DIRECTORIES="$work"

sanitize=$(sed -n 's/^HF_SANITIZE:[A-Z]*=//p' "$build/CMakeCache.txt")
compiler=$(sed -n 's/^CMAKE_C_COMPILER:[A-Z]*=//p' "$build/CMakeCache.txt")
flags="-std=gnu11 -O1 -g -D_GNU_SOURCE -DHF_VERSION=\"0\" -fno-strict-aliasing -fPIC -I$source"
[ -z "$sanitize" ] || flags="$flags -fsanitize=$sanitize"
# The world's allocator, which forgets what a simulated process held.
wraps="malloc calloc realloc free strdup posix_memalign aligned_alloc"
[ "$program" != sim_channel ] || wraps="hf_sign hf_sign_verify"
[ "$program" != sim_plane ] ||
	wraps=$(sed -n '/# sim_plane wraps/,/)/p' "$source/tests/sim/CMakeLists.txt" | tr -d '#()' |
		sed 's/sim_plane wraps//; s/set *plane_wraps//')
for wrap in $wraps; do
	flags="$flags -Wl,--wrap=$wrap"
done

# An object on the command line comes before the archives, so its archive's own copy stays out.
archives() {
	for library in "$@"; do
		printf '%s ' "$build/lib/libhf_$library.a"
	done
}

# What a simulator is made of but for the product's archives; a mutant takes the place of its file.
case $program in
sim_crash)
	sources="tests/sim/sim_crash.c tests/sim/seeds.c"
	libraries="$(archives sim_gateway core cache ring_client remote sim base) -lisal -lzstd -lcrypto"
	flags="$flags -Wl,--wrap=hf_wlog_append"
	;;
sim_ring)
	sources="tests/sim/sim_ring.c tests/sim/ring_world.c tests/sim/seeds.c
		tests/ring/kill_points_host.c tests/ring/kill_points_shim.c
		$(cd "$source" && ls gateway/volumed/ring_host*.c)"
	libraries="$(archives ring_client core cache remote sim base) -lisal -lzstd -lcrypto -luv -luring"
	wraps=$(sed -n '/# sim_ring wraps/,/)/p' "$source/tests/sim/CMakeLists.txt" | tr -d '#()' |
		sed 's/sim_ring wraps//; s/set *ring_wraps//')
	for wrap in $wraps; do
		flags="$flags -Wl,--wrap=$wrap"
	done
	;;
sim_channel)
	sources="tests/sim/sim_channel.c tests/sim/seeds.c $(cd "$source" && ls tests/sim/channel_*.c)"
	libraries="$(archives agent registry net proto messages base)
		-lsqlite3 -lpq -luv -lssl -lcrypto -lprotobuf-c -lisal"
	flags="$flags -I$build/generated"
	;;
sim_plane)
	sources="tests/sim/sim_plane.c tests/sim/seeds.c $(cd "$source" && ls tests/sim/plane_*.c)"
	libraries="$(archives control registry route agent http signer signer_client net proto base)
		-lisal $(archives messages) -lpq -lnats -ljansson -lcurl -lwebsockets -lcap -lprotobuf-c
		-luv -lssl -lcrypto -lsqlite3"
	flags="$flags -I$build/generated"
	;;
esac

# The simulator's own files are compiled once.
object() {
	out="$work/$(echo "$1" | tr / _).o"
	[ -e "$out" ] || $compiler $flags -c "$source/$1" -o "$out"
	echo "$out"
}

simulator() {
	list=""
	for part in $sources; do
		case " $* " in *"/$part "*) ;; *) list="$list $(object "$part")" ;; esac
	done
	$compiler $flags $list "$@" $libraries -o "$work/sim"
}

run() {
	timeout 300 "$work/sim" --recoveries "$1" >"$work/out" 2>&1
}

simulator
if ! run 400; then
	cat "$work/out"
	echo "the simulator fails without a bug"
	exit 1
fi
failed=0
for patch in "$source/tests/sim/mutations/$program"/*.patch; do
	name=$(basename "$patch" .patch)
	mutants=""
	for file in $(sed -n 's|^+++ b/||p' "$patch" | cut -f1); do
		mkdir -p "$work/$name/$(dirname "$file")"
		cp "$source/$file" "$work/$name/$file"
		mutants="$mutants $work/$name/$file"
	done
	if ! (cd "$work/$name" && git apply -p1 "$patch") >"$work/out" 2>&1; then
		cat "$work/out"
		echo "$name: the patch does not apply any more"
		failed=1
		continue
	fi
	[ $# -eq 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
	simulator $mutants
	status=0
	run "$recoveries" || status=$?
	if [ $status -eq 0 ] || [ "$program-$status" = sim_plane-124 ]; then
		echo "$name: NOT CAUGHT in $recoveries recoveries, or in time"
		failed=1
	else
		echo "$name: $(grep -h -m1 '^seed' "$work/out" || tail -1 "$work/out")"
	fi
done
exit $failed
