#!/run/lab/bin/busybox sh
# Process 1 of the VM: puts the kernel's own files where they belong, runs the command, tells the host.
PATH=/run/lab/bin
busybox --install -s /run/lab/bin
cd / || exit
# shellcheck source=/dev/null
. /run/lab/settings
release=$(uname -r)

port() { # NAME: the device of that virtio port
    local name
    for name in /sys/class/virtio-ports/*/name; do
        if [ "$(cat "$name")" = "$1" ]; then
            name=${name%/name}
            echo "/dev/${name##*/}"
            return
        fi
    done
}

exec 3>"$(port lab.control)" 4>"$(port lab.out)" 5>"$(port lab.err)"

fail() {
    echo "fail $1" >&3
    sleep 5
    poweroff -f
    sleep 60
}

# Nothing below is written to the host: these are mounts, and the overlay.
place() { # WHAT WHERE
    [ -e "$1" ] || return 0
    if ! mkdir -p "$2" || ! mount --bind "$1" "$2"; then fail "cannot place $2"; fi
}

[ -z "$MODULES" ] || place "$MODULES" "/lib/modules/$release"
if [ -n "$TREE" ]; then
    for what in "$TREE"/usr/src/linux-* "$TREE"/usr/lib/linux-kbuild*; do
        place "$what" "${what#"$TREE"}"
    done
    mkdir -p /boot
    for what in "$TREE"/boot/*"$release"; do
        [ ! -e "$what" ] || ln -sfn "$what" "/boot/${what##*/}"
    done
    [ -e "/boot/config-$release" ] || [ ! -e "$MODULES/config" ] || ln -sfn "$MODULES/config" "/boot/config-$release"
fi

# The nodes by which a program's first open loads a module, as kmod's static nodes do: /dev/net/tun and more.
[ ! -r "/lib/modules/$release/modules.devname" ] || while read -r _ node number; do
    case $number in
        [bc][0-9]*:[0-9]*)
            kind=${number%%[0-9]*}
            number=${number#[bc]}
            case $node in */*) mkdir -p "/dev/${node%/*}" ;; esac
            mknod -m 600 "/dev/$node" "$kind" "${number%:*}" "${number#*:}"
            ;;
    esac
done <"/lib/modules/$release/modules.devname" 2>/dev/null

hostname "$NAME"
echo "127.0.1.1 $NAME" >>/etc/hosts
ip link set lo up
ulimit -Hn 524288 2>/dev/null

# By way of pipes: a port can be opened only once, a pipe by anybody who writes to /dev/stdout.
mkfifo /run/lab/out /run/lab/err
cat </run/lab/out >&4 3>&- 5>&- &
out=$!
cat </run/lab/err >&5 3>&- 4>&- &
err=$!

echo start >&3
setsid env -i /bin/sh /run/lab/command </dev/null >/run/lab/out 2>/run/lab/err 3>&- 4>&- 5>&-
status=$?

# What the command left running would hold the pipes; kernel threads have no executable.
for _ in 1 2; do
    for process in /proc/[0-9]*; do
        pid=${process#/proc/}
        case " 1 $out $err " in *" $pid "*) continue ;; esac
        [ -z "$(readlink "$process/exe")" ] || kill -9 "$pid" 2>/dev/null
    done
done
(
    sleep 15
    kill "$out" "$err"
) 2>/dev/null 3>&- 4>&- 5>&- &
watch=$!
wait "$out" "$err"
kill "$watch" 2>/dev/null
printf '%s' "$MARK" >&4
printf '%s' "$MARK" >&5
sync
echo "exit $status" >&3
sleep 30 # the host ends the VM when it has everything
poweroff -f
sleep 60
