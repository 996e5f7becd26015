/*
 * A session of PPPoE without discovery and negotiation, for which there would have to be another
 * end: DEVICE, the other end's hardware address, NAME and ADDRESS of the interface. It lasts as
 * long as this program.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_pppox.h>
#include <linux/ppp-ioctl.h>
#include <linux/ppp_defs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAC_FORMAT "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx"

static int check(int result, const char *what)
{
	if (result >= 0)
		return result;
	perror(what);
	exit(1);
}

int main(int count, char **arguments)
{
	struct sockaddr_pppox session = { .sa_family = AF_PPPOX, .sa_protocol = PX_PROTO_OE };
	struct npioctl ipv4 = { .protocol = PPP_IP, .mode = NPMODE_PASS };
	unsigned char *mac = session.sa_addr.pppoe.remote;
	int unit = -1, channel, socket_fd, channel_fd, unit_fd;
	char command[256];

	if (count != 5)
		return 2;
	if (sscanf(arguments[2], MAC_FORMAT, mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) != 6)
		return 2;
	session.sa_addr.pppoe.sid = htons(1);
	strncpy(session.sa_addr.pppoe.dev, arguments[1], sizeof(session.sa_addr.pppoe.dev) - 1);
	socket_fd = check(socket(AF_PPPOX, SOCK_STREAM, PX_PROTO_OE), "socket");
	check(connect(socket_fd, (struct sockaddr *)&session, sizeof(session)), "connect");

	channel_fd = check(open("/dev/ppp", O_RDWR), "/dev/ppp");
	unit_fd = check(open("/dev/ppp", O_RDWR), "/dev/ppp");
	check(ioctl(unit_fd, PPPIOCNEWUNIT, &unit), "PPPIOCNEWUNIT");
	check(ioctl(unit_fd, PPPIOCSNPMODE, &ipv4), "PPPIOCSNPMODE");

	check(ioctl(socket_fd, PPPIOCGCHAN, &channel), "PPPIOCGCHAN");
	check(ioctl(channel_fd, PPPIOCATTCHAN, &channel), "PPPIOCATTCHAN");
	check(ioctl(channel_fd, PPPIOCCONNECT, &unit), "PPPIOCCONNECT");

	snprintf(command, sizeof(command),
		 "ip link set ppp%d name %s && ip address add %s dev %s && ip link set %s up", unit,
		 arguments[3], arguments[4], arguments[3], arguments[3]);
	if (system(command))
		return 1;
	pause();
	return 0;
}
