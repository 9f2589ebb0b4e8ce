/* SPDX-License-Identifier: MIT */
/*
 * net_ctrl.c - commands of the driver (standard: 5.1.6.5): which packets it
 * wants, its address, which offloads it bears. Each command is copied and
 * checked whole before any of it takes effect. Knows no ring and no packet's
 * contents beyond its Ethernet header.
 */
#include "core/device/net_int.h"
#include "core/device/net_steer.h"
#include "core/base/shared64.h"
#include "core/base/string.h"

#define MAC_LEN		VIRTIO_NET_MAC_LEN
#define HDR_LEN		((uint32_t)sizeof(struct virtio_net_ctrl_hdr))
#define VLANS		4096u
#define ACK_LEN		1u

/* One byte, 0 or 1. */
static bool read_switch(struct vio_cursor *c, bool *on)
{
	uint8_t v;

	if (c->left != 1 || !vio_cursor_read(c, &v, 1) || v > 1)
		return false;
	*on = v;
	return true;
}

static bool set_rx(struct vio_net *net, uint8_t command, struct vio_cursor *c)
{
	struct vio_net_filter *f = &net->filter;
	bool *const table[] = {
		[VIRTIO_NET_CTRL_RX_PROMISC] = &f->promisc,
		[VIRTIO_NET_CTRL_RX_ALLMULTI] = &f->allmulti,
		[VIRTIO_NET_CTRL_RX_ALLUNI] = &f->alluni,
		[VIRTIO_NET_CTRL_RX_NOMULTI] = &f->nomulti,
		[VIRTIO_NET_CTRL_RX_NOUNI] = &f->nouni,
		[VIRTIO_NET_CTRL_RX_NOBCAST] = &f->nobcast,
	};
	unsigned needs = command <= VIRTIO_NET_CTRL_RX_ALLMULTI ?
		VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA;

	return command < VIO_ARRAY_LEN(table) &&
	       vio_dev_has(&net->dev, needs) &&
	       read_switch(c, table[command]);
}

/*
 * One of the two tables. More addresses than there is room for count as all
 * there are, as the standard permits; the bytes must be there all the same.
 */
static bool read_table(const struct vio_dev *dev, struct vio_cursor *c,
		       uint8_t (*mac)[MAC_LEN], uint16_t *nr, bool *all)
{
	vio_le32 wire;
	uint32_t n;

	if (!vio_cursor_read(c, &wire, sizeof(wire)))
		return false;
	n = vio_dev_from32(dev, wire);
	if (n > c->left / MAC_LEN)
		return false;
	*all = n > VIO_NET_MACS;
	*nr = 0;
	if (*all)
		return vio_cursor_skip(c, n * MAC_LEN);
	*nr = (uint16_t)n;
	return vio_cursor_read(c, mac, n * MAC_LEN);
}

static bool set_table(struct vio_net *net, struct vio_cursor *c)
{
	struct vio_net_filter f = net->filter;
	const struct vio_dev *dev = &net->dev;

	if (!read_table(dev, c, f.uni, &f.nr_uni, &f.uni_all) ||
	    !read_table(dev, c, f.multi, &f.nr_multi, &f.multi_all) ||
	    c->left)
		return false;
	net->filter = f;
	return true;
}

static bool set_mac(struct vio_net *net, uint8_t command,
		    struct vio_cursor *c)
{
	uint8_t mac[MAC_LEN];

	if (command == VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return vio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_RX) &&
		       set_table(net, c);
	if (command != VIRTIO_NET_CTRL_MAC_ADDR_SET ||
	    !vio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_MAC_ADDR) ||
	    c->left != MAC_LEN || !vio_cursor_read(c, mac, MAC_LEN) ||
	    mac[0] & 1)
		return false;
	memcpy(net->filter.mac, mac, MAC_LEN);
	if (vio_dev_has(&net->dev, VIRTIO_NET_F_MAC))
		vio_net_config_mac(net, 0, mac, MAC_LEN);
	return true;
}

static bool set_vlan(struct vio_net *net, uint8_t command,
		     struct vio_cursor *c)
{
	vio_le16 wire;
	unsigned id;

	if (!vio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_VLAN) ||
	    command > VIRTIO_NET_CTRL_VLAN_DEL || c->left != sizeof(wire) ||
	    !vio_cursor_read(c, &wire, sizeof(wire)))
		return false;
	id = vio_dev_from16(&net->dev, wire);
	if (id >= VLANS)
		return false;
	if (command == VIRTIO_NET_CTRL_VLAN_ADD)
		net->filter.vlan[id / 32] |= 1u << id % 32;
	else
		net->filter.vlan[id / 32] &= ~(1u << id % 32);
	return true;
}

static bool ack_announce(struct vio_net *net, uint8_t command,
			 struct vio_cursor *c)
{
	(void)c;
	if (command != VIRTIO_NET_CTRL_ANNOUNCE_ACK ||
	    !vio_dev_has(&net->dev, VIRTIO_NET_F_GUEST_ANNOUNCE))
		return false;
	vio_net_config_status(net, VIRTIO_NET_S_ANNOUNCE, false);
	return true;
}

uint64_t vio_net_switchable(const struct vio_net *net)
{
	static const uint8_t bits[] = {
		VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4,
		VIRTIO_NET_F_GUEST_TSO6, VIRTIO_NET_F_GUEST_ECN,
		VIRTIO_NET_F_GUEST_UFO, VIRTIO_NET_F_GUEST_USO4,
		VIRTIO_NET_F_GUEST_USO6,
	};
	uint64_t mask = 0;

	for (unsigned i = 0; i < VIO_ARRAY_LEN(bits); i++)
		mask |= (uint64_t)1 << bits[i];
	mask &= net->dev.driver.w[0];
	/* These have other places in the mask than among the features. */
	if (vio_dev_has(&net->dev, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO))
		mask |= VIO_NET_OFFLOAD_TUNNEL;
	if (vio_dev_has(&net->dev, VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO_CSUM))
		mask |= VIO_NET_OFFLOAD_TUNNEL_CSUM;
	return mask;
}

static bool set_offloads(struct vio_net *net, uint8_t command,
			 struct vio_cursor *c)
{
	vio_le64 wire;
	uint64_t want;

	if (command != VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET ||
	    !vio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) ||
	    c->left != sizeof(wire) ||
	    !vio_cursor_read(c, &wire, sizeof(wire)))
		return false;
	want = vio_dev_from64(&net->dev, wire);
	if (want & ~vio_net_switchable(net))
		return false;
	net->guest_offloads = want;
	return true;
}

static bool (*const handler[])(struct vio_net *net, uint8_t command,
			       struct vio_cursor *c) = {
	[VIRTIO_NET_CTRL_RX] = set_rx,
	[VIRTIO_NET_CTRL_MAC] = set_mac,
	[VIRTIO_NET_CTRL_VLAN] = set_vlan,
	[VIRTIO_NET_CTRL_ANNOUNCE] = ack_announce,
	[VIRTIO_NET_CTRL_MQ] = vio_net_set_mq,
	[VIRTIO_NET_CTRL_GUEST_OFFLOADS] = set_offloads,
	[VIRTIO_NET_CTRL_NOTF_COAL] = vio_net_set_coal,
	[VIRTIO_NET_CTRL_STATS] = vio_net_get_stats,
};

/* While no packet is on its way by the rules that it changes. */
static bool carry_out(struct vio_net *net, struct virtio_net_ctrl_hdr hdr,
		      struct vio_cursor *c)
{
	bool ok;

	if (hdr.class_ >= VIO_ARRAY_LEN(handler) || !handler[hdr.class_])
		return false;
	vio_net_lock(net);
	ok = handler[hdr.class_](net, hdr.command, c);
	vio_net_unlock(net);
	return ok;
}

bool vio_net_answer(struct vio_cursor *c, uint32_t *at, const void *src,
		    uint32_t len)
{
	uint32_t off = ACK_LEN + *at, room = c->req->write_len;

	*at += len;
	if (off >= room)
		return false;
	return vio_req_put(c->req, off, src,
			   len < room - off ? len : room - off);
}

static void command(struct vio_net *net, struct vio_req *req)
{
	struct vio_cursor c = vio_req_reader(req);
	struct virtio_net_ctrl_hdr hdr;
	uint8_t ack = VIRTIO_NET_ERR;

	vio_shared64_add(&net->ctrl_commands, 1);
	/* Without room for an answer nothing is carried out. A result comes
	 * behind it, so that it is written, and again when it is known. */
	if (vio_req_put(req, 0, &ack, 1) &&
	    vio_cursor_read(&c, &hdr, HDR_LEN) &&
	    carry_out(net, hdr, &c))
		ack = VIRTIO_NET_OK;
	if (ack != VIRTIO_NET_OK)
		vio_shared64_add(&net->ctrl_refused, 1);
	vio_req_put(req, 0, &ack, 1);
	vio_req_done(req);
}

enum vio_service vio_net_service_ctrl(struct vio_net *net,
				      struct vio_queue *q, unsigned budget)
{
	struct vio_req *req;

	__atomic_store_n(&net->knows, true, __ATOMIC_RELAXED);
	while (budget--) {
		req = vio_queue_pop(q);
		if (!req)
			return VIO_SERVICE_IDLE;
		command(net, req);
	}
	return VIO_SERVICE_MORE;
}

/* A back end goes on bringing packets while the driver starts anew. */
void vio_net_ctrl_reset(struct vio_net *net)
{
	vio_net_lock(net);
	net->filter = (struct vio_net_filter){ .promisc = false };
	memcpy(net->filter.mac, net->conf.mac, MAC_LEN);
	vio_net_config_mac(net, 0, net->conf.mac, MAC_LEN);
	net->guest_offloads = vio_net_switchable(net);
	vio_net_steering_reset(net);
	vio_net_coal_reset(net);
	vio_net_unlock(net);
}

/* -- which packets ------------------------------------------------------- */

static bool in_table(const uint8_t (*table)[MAC_LEN], unsigned nr,
		     const uint8_t *mac)
{
	for (unsigned i = 0; i < nr; i++)
		if (!memcmp(table[i], mac, MAC_LEN))
			return true;
	return false;
}

static bool is_broadcast(const uint8_t *mac)
{
	return (mac[0] & mac[1] & mac[2] & mac[3] & mac[4] & mac[5]) == 0xff;
}

static bool wanted_address(const struct vio_net_filter *f, const uint8_t *mac)
{
	if (f->promisc)
		return true;
	if (is_broadcast(mac))
		return !f->nobcast;
	if (mac[0] & 1)
		return !f->nomulti &&
		       (f->allmulti || f->multi_all ||
			in_table(f->multi, f->nr_multi, mac));
	return !f->nouni &&
	       (f->alluni || f->uni_all || !memcmp(f->mac, mac, MAC_LEN) ||
		in_table(f->uni, f->nr_uni, mac));
}

/*
 * A front end may keep the control queue to itself, as QEMU does. Then this
 * device does not know what the driver wants, and passes everything on.
 */
bool vio_net_is_picky(const struct vio_net *net)
{
	return __atomic_load_n(&net->knows, __ATOMIC_RELAXED);
}

bool vio_net_wanted(const struct vio_net *net,
		    const struct vio_net_packet *pkt)
{
	const struct vio_net_filter *f = &net->filter;
	unsigned char head[VIO_NET_ETH_HDR + VIO_NET_VLAN_TAG];
	unsigned id;

	if (!vio_net_is_picky(net) || pkt->len < sizeof(head))
		return true;
	vio_net_peek(pkt, head, sizeof(head));
	if (vio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_VLAN) &&
	    head[VIO_NET_ETH_TYPE_AT] == 0x81 &&
	    !head[VIO_NET_ETH_TYPE_AT + 1]) {
		id = (head[VIO_NET_ETH_HDR] & 15u) << 8 |
		     head[VIO_NET_ETH_HDR + 1];
		if (!(f->vlan[id / 32] >> id % 32 & 1))
			return false;
	}
	return !vio_dev_has(&net->dev, VIRTIO_NET_F_CTRL_RX) ||
	       wanted_address(f, head);
}
