#!/bin/busybox sh
# Process 1 of the VM until its root file system stands: the host's files, or a folder of them with the
# root of a Debian suite, read-only, below a throw-away overlay.
# /job (from the lab) holds: settings, command, modules in the order of loading.
/bin/busybox --install -s /bin
PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/console 2>&1

fail() {
    echo "lab-guest: $1"
    sleep 1
    poweroff -f
    sleep 60
}

# shellcheck source=/dev/null
. /job/settings

for module in /job/modules/*.ko; do
    [ ! -e "$module" ] || insmod "$module" || echo "lab-guest-note: $module was not loaded"
done

share() { # TAG FOLDER ro|rw
    case $FS in
        9p) mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$([ "$3" = ro ] && echo cache=loose,)$3" "$1" "$2" ;;
        *) mount -t virtiofs -o "$3" "$1" "$2" ;;
    esac || fail "$FS: cannot mount $1; has this kernel got $FS?"
}

layer() { # NAME FOLDER WHERE: a folder of the host below changes that are thrown away
    mkdir -p "/below/$1" "/upper/$1" "/upper/$1-work" "$3" || fail "cannot make $3"
    # By a name of our own: a comma or colon in the folder's would mean something to overlayfs.
    mount --bind "/lower$2" "/below/$1" || fail "cannot find $2"
    mount -t overlay -o "lowerdir=/below/$1,upperdir=/upper/$1,workdir=/upper/$1-work" overlay "$3" ||
        fail "cannot mount an overlay; has this kernel got overlayfs?"
}

mkdir -p /lower /upper
share hostroot /lower ro
mount -t tmpfs -o size=75%,mode=755 tmpfs /upper || fail "no tmpfs"
layer root "$ROOT" /root

cd /root || fail "no root"
mount --move /proc proc
mount --move /sys sys
mount --move /dev dev
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lab/bin run/lock
mkdir -p dev/pts dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -sfn /proc/self/fd dev/fd
ln -sfn /proc/self/fd/0 dev/stdin
ln -sfn /proc/self/fd/1 dev/stdout
ln -sfn /proc/self/fd/2 dev/stderr

# What this kernel has of these.
while read -r type folder; do
    [ ! -d "$folder" ] || mount -t "$type" "$type" "$folder" 2>/dev/null
done <<'END'
debugfs sys/kernel/debug
tracefs sys/kernel/tracing
securityfs sys/kernel/security
bpf sys/fs/bpf
cgroup2 sys/fs/cgroup
END

# The checkout's own environment belongs to the host's interpreter: the suite's lies over it.
if [ -n "$ROOT" ]; then
    mkdir -p run/lab/host
    mount --bind /lower run/lab/host || fail "cannot place the host's files"
    layer checkout "$CHECKOUT" ".$CHECKOUT"
    layer environment "$ENVIRONMENT" ".$CHECKOUT/.venv"
fi
if [ -n "$RW" ]; then
    mkdir -p ".$RW" || fail "cannot make $RW"
    share labrw ".$RW" rw
fi
cp /bin/busybox run/lab/bin/busybox
cp /job/settings /job/command /job/run.sh run/lab/
# shellcheck disable=SC2093 # only if it fails
exec switch_root /root /run/lab/bin/busybox sh /run/lab/run.sh
fail "switch_root did not work"
