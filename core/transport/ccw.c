/* SPDX-License-Identifier: MIT */
/*
 * ccw.c - channel commands of the channel I/O transport become verbs of the
 * device core (standard: 4.3): how a command's data comes and goes, its
 * length rules, channel programs. What each command does stands in
 * ccw_cmds.c, indicators in ccw_ind.c. It knows no device type and no ring.
 */
#include "core/transport/ccw.h"
#include "core/mem/access.h"

/* CCWs that one program may have: more is a loop. */
#define PROGRAM_MAX	256u

/* -- guest memory -------------------------------------------------------- */

void *vio_ccw_at(const struct vio_ccw *c, uint64_t addr, uint64_t len)
{
	unsigned hint = 0;

	return vio_mem_at(c->mem, &hint, vio_addr_of(addr), len, VIO_PERM_RW);
}

static bool copy(const struct vio_ccw *c, uint64_t addr, void *buf, size_t len,
		 bool out)
{
	unsigned char *b = buf;
	unsigned hint = 0;

	while (len) {
		uint64_t n;
		void *p = vio_mem_span(c->mem, &hint, vio_addr_of(addr), len,
				       out ? VIO_PERM_WRITE : VIO_PERM_READ,
				       &n);

		if (!p)
			return false;
		if (out) {
			vio_copy_out(p, b, (size_t)n);
			vio_mem_wrote(c->mem, p, n);
		} else {
			vio_copy_in(b, p, (size_t)n);
		}
		b += n;
		addr += n;
		len -= (size_t)n;
	}
	return true;
}

bool vio_ccw_get(struct vio_ccw_job *j, void *dst, size_t len)
{
	if (copy(j->c, j->cmd->addr, dst, len, false))
		return true;
	j->st->subchannel |= CCW_CSTAT_PROGRAM;
	return false;
}

bool vio_ccw_put(struct vio_ccw_job *j, const void *src, size_t len)
{
	/* Out means that it is read alone. */
	if (copy(j->c, j->cmd->addr, (void *)(uintptr_t)src, len, true))
		return true;
	j->st->subchannel |= CCW_CSTAT_PROGRAM;
	return false;
}

/* -- ends ---------------------------------------------------------------- */

/* ccw.device.basic-concepts.1 and many others: unit check, command reject. */
int vio_ccw_reject(struct vio_ccw_job *j)
{
	j->c->sense = CCW_SENSE_REJECT;
	j->st->device |= CCW_DSTAT_UNIT_CHECK;
	return VIO_OK;
}

/*
 * The command takes @len bytes. False where that ends it: the count is too
 * small. Without SLI any other count is an incorrect length, which the
 * subchannel shows; with it, too little data to process is a check condition
 * (ccw.device.basic-concepts.2 to .4).
 */
bool vio_ccw_length(struct vio_ccw_job *j, size_t len)
{
	uint16_t count = j->cmd->count;
	bool suppressed = j->cmd->flags & CCW_FLAG_SLI;

	if (count != len && !suppressed)
		j->st->subchannel |= CCW_CSTAT_LENGTH;
	if (count < len) {
		if (suppressed)
			vio_ccw_reject(j);
		return false;
	}
	j->st->residual = (uint16_t)(count - len);
	return true;
}

/*
 * The same for data of which the driver takes as much as it likes, up to @len:
 * Linux reads and writes the front of the configuration without SLI.
 */
size_t vio_ccw_length_upto(struct vio_ccw_job *j, size_t len)
{
	uint16_t count = j->cmd->count;

	if (count <= len) {
		j->st->residual = 0;
		return count;
	}
	if (!(j->cmd->flags & CCW_FLAG_SLI))
		j->st->subchannel |= CCW_CSTAT_LENGTH;
	j->st->residual = (uint16_t)(count - len);
	return len;
}

int vio_ccw_cmd(struct vio_ccw *c, const struct vio_ccw_command *cmd,
		struct vio_ccw_status *st)
{
	struct vio_ccw_job j = { c, cmd, st };
	int err;

	*st = (struct vio_ccw_status){ CCW_DSTAT_GOOD, 0, cmd->count };
	/* What a channel can do beyond one piece of memory a command. */
	if (cmd->flags & (CCW_FLAG_CD | CCW_FLAG_SKIP | CCW_FLAG_IDA)) {
		*st = (struct vio_ccw_status){ 0, CCW_CSTAT_PROGRAM,
					       cmd->count };
		return VIO_OK;
	}
	/* Sense tells of the command before it. */
	if (cmd->code != CCW_CMD_BASIC_SENSE)
		c->sense = 0;
	err = vio_ccw_do(&j);
	if (st->subchannel & CCW_CSTAT_PROGRAM)
		st->residual = cmd->count;
	return err;
}

/* -- programs ------------------------------------------------------------ */

static bool fetch(struct vio_ccw *c, uint64_t at, struct vio_ccw_command *cmd)
{
	struct vio_ccw1 raw;

	/* At a doubleword, within 31 bits. */
	if (at % 8 || at > 0x7ffffff8 ||
	    !copy(c, at, &raw, sizeof(raw), false))
		return false;
	cmd->code = raw.code;
	cmd->flags = raw.flags;
	cmd->count = (uint16_t)vio_be_get(raw.count, 2);
	cmd->addr = vio_be_get(raw.addr, 4);
	return cmd->addr <= 0x7fffffff;
}

static bool is_tic(const struct vio_ccw_command *cmd)
{
	return (cmd->code & 0x0f) == CCW_CMD_TIC;
}

int vio_ccw_start(struct vio_ccw *c, uint64_t *at, struct vio_ccw_status *st)
{
	bool after_tic = true;		/* a program does not begin with one */
	struct vio_ccw_command cmd;
	unsigned n;
	int err;

	for (n = 0; n < PROGRAM_MAX; n++) {
		if (!fetch(c, *at, &cmd) || (is_tic(&cmd) && after_tic))
			break;
		after_tic = is_tic(&cmd);
		if (after_tic) {
			*at = cmd.addr;
			continue;
		}
		err = vio_ccw_cmd(c, &cmd, st);
		if (err)
			return err;
		*at += 8;
		if (!(cmd.flags & CCW_FLAG_CC) || st->subchannel ||
		    st->device != CCW_DSTAT_GOOD)
			return VIO_OK;
	}
	*at += 8;
	*st = (struct vio_ccw_status){ 0, CCW_CSTAT_PROGRAM, 0 };
	return VIO_OK;
}

/* -- notifications of the driver ------------------------------------------ */

uint64_t vio_ccw_notify(struct vio_ccw *c, uint64_t data, uint64_t cookie)
{
	bool with = vio_dev_has(c->dev, VIRTIO_F_NOTIFICATION_DATA);
	uint64_t index = with ? data & 0xffff : data;

	/* Our cookie helps nobody; it comes back as it is. */
	if (index < c->dev->nr_queues)
		c->ops->serve(c->ctx, &c->dev->queue[index]);
	return cookie;
}
