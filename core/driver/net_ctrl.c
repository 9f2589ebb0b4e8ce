/* SPDX-License-Identifier: MIT */
/*
 * The network driver's commands (standard: 5.1.6.5): one at a time, waited
 * for. Knows no bus, no ring layout, and not what a command does.
 */
#include <vireo/driver_net.h>

#include "core/driver/net.h"
#include "core/mem/access.h"

#define CMD_SEGS	4u

/* The feature without which a command must not be used; 0xff: there is none. */
static uint8_t needed(uint8_t class_, uint8_t command)
{
	static const uint8_t mq[] = {
		VIRTIO_NET_F_MQ, VIRTIO_NET_F_RSS, VIRTIO_NET_F_HASH_REPORT };

	switch (class_) {
	case VIRTIO_NET_CTRL_RX:
		return command <= VIRTIO_NET_CTRL_RX_ALLMULTI ?
			VIRTIO_NET_F_CTRL_RX : VIRTIO_NET_F_CTRL_RX_EXTRA;
	case VIRTIO_NET_CTRL_MAC:
		return VIRTIO_NET_F_CTRL_RX;
	case VIRTIO_NET_CTRL_VLAN:
		return VIRTIO_NET_F_CTRL_VLAN;
	case VIRTIO_NET_CTRL_ANNOUNCE:
		return VIRTIO_NET_F_GUEST_ANNOUNCE;
	case VIRTIO_NET_CTRL_MQ:
		return command < VIO_ARRAY_LEN(mq) ? mq[command] : 0xff;
	case VIRTIO_NET_CTRL_GUEST_OFFLOADS:
		return VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;
	case VIRTIO_NET_CTRL_NOTF_COAL:
		return command <= VIRTIO_NET_CTRL_NOTF_COAL_RX_SET ?
			VIRTIO_NET_F_NOTF_COAL : VIRTIO_NET_F_VQ_NOTF_COAL;
	case VIRTIO_NET_CTRL_STATS:
		return VIRTIO_NET_F_DEVICE_STATS;
	default:
		return 0xff;
	}
}

static bool may_command(const struct vio_drv *drv, uint8_t class_,
			uint8_t command)
{
	uint8_t bit = needed(class_, command);

	if (bit == 0xff || !vio_drv_has(drv, bit))
		return false;
	return class_ != VIRTIO_NET_CTRL_RX ||
	       vio_drv_has(drv, VIRTIO_NET_F_CTRL_RX);
}

/*
 * The readable part of a command. A legacy device without ANY_LAYOUT gets the
 * first two bytes, the data, and of the two tables of addresses each, in one
 * descriptor (net.other.legacy-interface-framing-requirements.2 and .3).
 * Returns how many segments, 0 if the data is none that such a command has.
 */
static unsigned frame(const struct vio_netdrv *net, struct vio_seg *seg,
		      const struct virtio_net_ctrl_hdr *hdr, uint32_t len)
{
	unsigned char *data = net->command + CMD_HDR;
	vio_le32 nr;
	uint64_t unicast;

	seg[0] = (struct vio_seg){ net->command, CMD_HDR + len };
	if (!net->framed || !len)
		return 1;
	seg[0].len = CMD_HDR;
	seg[1] = (struct vio_seg){ data, len };
	if (hdr->class_ != VIRTIO_NET_CTRL_MAC ||
	    hdr->command != VIRTIO_NET_CTRL_MAC_TABLE_SET)
		return 2;
	if (len < sizeof(nr))
		return 0;
	memcpy(&nr, data, sizeof(nr));
	unicast = sizeof(nr) + (uint64_t)vio_drv_from32(&net->drv, nr) *
			       VIRTIO_NET_MAC_LEN;
	if (unicast >= len)
		return 0;
	seg[1].len = (size_t)unicast;
	seg[2] = (struct vio_seg){ data + unicast, len - (size_t)unicast };
	return 3;
}

int vio_netdrv_ask(struct vio_netdrv *net, uint8_t class_, uint8_t command,
		   const void *data, uint32_t len, void *result,
		   uint32_t result_len)
{
	const struct virtio_net_ctrl_hdr hdr = { class_, command };
	unsigned char *at = net->command, ack = VIRTIO_NET_ERR;
	struct vio_seg seg[CMD_SEGS];
	uint32_t used;
	unsigned nr;
	int err;

	if (!at || !may_command(&net->drv, class_, command))
		return VIO_E_UNSUPP;
	if (len > VIO_NETDRV_COMMAND || result_len > RESULT_MAX)
		return VIO_E_INVAL;
	memcpy(at, &hdr, CMD_HDR);
	if (len)
		memcpy(at + CMD_HDR, data, len);
	/* What is not overwritten is no consent. */
	at[CMD_HDR + len] = VIRTIO_NET_ERR;
	memset(at + CMD_HDR + len + 1, 0, result_len);
	nr = frame(net, seg, &hdr, len);
	if (!nr)
		return VIO_E_INVAL;
	seg[nr] = (struct vio_seg){ at + CMD_HDR + len, 1 + result_len };
	err = vio_vq_add(&net->ctrl, seg, nr, 1, at);
	if (err)
		return err;
	if (!vio_drv_wait_used(&net->drv, net->ctrlq, &net->ctrl, &used))
		return VIO_E_IO;
	/* net.other.legacy-interface-device-operation.2 */
	if (used || net->drv.legacy)
		vio_copy_in(&ack, at + CMD_HDR + len, 1);
	if (ack != VIRTIO_NET_OK)
		return VIO_E_INVAL;
	if (result_len)
		vio_copy_in(result, at + CMD_HDR + len + 1, result_len);
	return VIO_OK;
}

int vio_netdrv_command(struct vio_netdrv *net, uint8_t class_,
		       uint8_t command, const void *data, uint32_t len)
{
	return vio_netdrv_ask(net, class_, command, data, len, NULL, 0);
}

int vio_netdrv_announced(struct vio_netdrv *net)
{
	/* net.driver.gratuitous-packet-sending.2 */
	int err = vio_netdrv_command(net, VIRTIO_NET_CTRL_ANNOUNCE,
				     VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0);

	if (!err)
		net->announce = false;
	return err;
}
