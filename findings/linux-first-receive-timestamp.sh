#!/bin/sh
# Linux 6.18: SIOCGSTAMPNS answers with the time of the question, and not of the packet, for what came right after
# the first one.
#
# By socket(7) it returns the receive timestamp of the last packet. The first question switches time stamps on
# (sock_enable_timestamp), but the kernel does so later, from a work queue, when no other socket of the machine has them on
# (net_enable_timestamp in net/core/dev.c). A packet that comes before has none, and sock_gettstamp() takes the clock in its
# place: no error, and a time that looks right. Whoever measures waits first.
# Seen: of datagrams that are asked about 30 ms after they were sent, some come 30 ms late by the first answer of a socket,
# none by the second.
#
# Needs perl, and a machine on which nothing else has time stamps on all the time. Leaves nothing behind.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
cat >ask.pl <<'END'
use strict;
use Socket;
use Time::HiRes qw(clock_gettime CLOCK_REALTIME sleep);
use constant { SIOCGSTAMPNS => 0x8907, SOCKETS => 40, WAIT => 0.03 };
my @late = (0, 0);
for (1 .. SOCKETS) {
  socket(my $to, PF_INET, SOCK_DGRAM, 0) or die "socket: $!";
  bind($to, pack_sockaddr_in(0, INADDR_LOOPBACK)) or die "bind: $!";
  my $time = "\0" x 16;
  die 'a time without a packet' if defined ioctl($to, SIOCGSTAMPNS, $time);
  for my $turn (0, 1) {
    my $sent = clock_gettime(CLOCK_REALTIME);
    send($to, 'x', 0, getsockname($to)) or die "send: $!";
    sleep(WAIT);
    defined(recv($to, my $datagram, 1, 0)) or die "recv: $!";
    defined(ioctl($to, SIOCGSTAMPNS, $time)) or die "ioctl: $!";
    my ($seconds, $nanoseconds) = unpack('q q', $time);
    $late[$turn] += $seconds + $nanoseconds / 1e9 - $sent >= WAIT;
  }
  close($to);
  sleep(0.05);
}
print "@late\n";
END
late=$(perl ask.pl)
echo "Linux $(uname -r): of 40 sockets the first answer is the time of the question on ${late% *}, the second on ${late#* }"
[ "${late% *}" -ge 1 ] && [ "${late#* }" -lt "${late% *}" ]
