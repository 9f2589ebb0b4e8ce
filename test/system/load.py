# SPDX-License-Identifier: MIT
"""A guest that writes to its disk and knows what it wrote, while the daemon
behind it changes. It ends with 4 if all was well."""
# ROUNDS of a fifth of a second, at least.
LOAD = """
mount -t ext4 /dev/vda /mnt && cd /mnt || exit 1
echo busy
for i in 1 2 3; do (n=0; while [ ! -e /stop ]; do
	dd if=/dev/urandom of=new$i bs=16k count=20 conv=fsync
	sha256sum < new$i > newsum$i; mv new$i kept$i; mv newsum$i keptsum$i
	n=$((n + 1)); echo $n > /rounds$i
done 2>/dev/null; touch /stopped$i) & done
n=0
while [ $n -lt ROUNDS ]; do
	echo 3 > /proc/sys/vm/drop_caches; sleep 0.2; n=$((n + 1))
	for i in 1 2 3; do cat kept$i > /dev/null 2>&1; done
done
touch /stop
until [ -e /stopped1 -a -e /stopped2 -a -e /stopped3 ]; do sleep 0.1; done
echo 3 > /proc/sys/vm/drop_caches
for i in 1 2 3; do sha256sum < kept$i | cmp - keptsum$i || exit 3; done
dmesg | grep -i "i/o error" && exit 5
cat /rounds*
cd / && umount /mnt && exit 4
"""
