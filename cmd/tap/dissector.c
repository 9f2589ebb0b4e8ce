/* SPDX-License-Identifier: MIT */
/* A dissector for Wireshark, made from the protocol's table. */
#include "tap.h"

static const char head[] =
"-- Dissector of vireo-tap's records (pcapng, link type USER0), for Wireshark.\n"
"-- Made by: vireo-tap --dissector\n"
"local p = Proto(\"vireo\", \"Vireo tap: vhost-user\")\n"
"local kinds = { [1] = \"message\", [2] = \"avail\", [3] = \"used\",\n"
"  [4] = \"kick\", [5] = \"call\", [6] = \"begin\", [7] = \"end\",\n"
"  [8] = \"state\", [9] = \"note\" }\n";

static const char body[] =
"local f = p.fields\n"
"f.kind = ProtoField.uint8(\"vireo.kind\", \"Kind\", base.DEC, kinds)\n"
"f.back = ProtoField.bool(\"vireo.from_back\", \"From the back end\", 8, nil, 1)\n"
"f.own = ProtoField.bool(\"vireo.own\", \"Back end's own channel\", 8, nil, 2)\n"
"f.fds = ProtoField.uint8(\"vireo.fds\", \"Descriptors\")\n"
"f.queue = ProtoField.uint16(\"vireo.queue\", \"Queue\")\n"
"f.session = ProtoField.uint32(\"vireo.session\", \"Session\")\n"
"f.name = ProtoField.string(\"vireo.name\", \"Message\")\n"
"f.request = ProtoField.uint32(\"vireo.request\", \"Request\")\n"
"f.flags = ProtoField.uint32(\"vireo.flags\", \"Flags\", base.HEX)\n"
"f.size = ProtoField.uint32(\"vireo.size\", \"Size\")\n"
"f.payload = ProtoField.bytes(\"vireo.payload\", \"Payload\")\n"
"f.fd = ProtoField.string(\"vireo.fd\", \"Descriptor\")\n"
"f.head = ProtoField.uint32(\"vireo.head\", \"Head\")\n"
"f.position = ProtoField.uint32(\"vireo.position\", \"Position\")\n"
"f.descs = ProtoField.uint32(\"vireo.descriptors\", \"Descriptors of the chain\")\n"
"f.rlen = ProtoField.uint32(\"vireo.read\", \"Bytes to read\")\n"
"f.wlen = ProtoField.uint32(\"vireo.write\", \"Bytes to write\")\n"
"f.ulen = ProtoField.uint32(\"vireo.used\", \"Used length\")\n"
"f.age = ProtoField.uint64(\"vireo.age\", \"Age in ns\")\n"
"f.text = ProtoField.string(\"vireo.text\", \"Text\")\n"
"local function message(b, t, own, nfds)\n"
"  local nr, size = b(0, 4):le_uint(), b(8, 4):le_uint()\n"
"  local name = (own and back or front)[nr] or (\"request \" .. nr)\n"
"  t:add(f.name, b(0, 4), name)\n"
"  t:add_le(f.request, b(0, 4)); t:add_le(f.flags, b(4, 4))\n"
"  t:add_le(f.size, b(8, 4))\n"
"  if size > 0 and 12 + size <= b:len() then t:add(f.payload, b(12, size)) end\n"
"  for i = 0, nfds - 1 do\n"
"    local at = 12 + size + 32 * i\n"
"    if at + 32 <= b:len() then t:add(f.fd, b(at, 32), b(at, 32):stringz()) end\n"
"  end\n"
"  if bit.band(b(4, 4):le_uint(), 4) ~= 0 then name = name .. \" reply\" end\n"
"  return name\n"
"end\n"
"local function ring(b, t, kind)\n"
"  t:add_le(f.head, b(0, 4)); t:add_le(f.position, b(4, 4))\n"
"  if kind == 2 then\n"
"    t:add_le(f.descs, b(8, 4)); t:add_le(f.rlen, b(12, 4))\n"
"    t:add_le(f.wlen, b(16, 4))\n"
"  else\n"
"    t:add_le(f.ulen, b(8, 4)); t:add_le(f.age, b(12, 8))\n"
"  end\n"
"  return kinds[kind] .. \" head \" .. b(0, 4):le_uint()\n"
"end\n"
"function p.dissector(buf, info, tree)\n"
"  if buf:len() < 16 or buf(0, 1):uint() ~= 1 then return 0 end\n"
"  local kind, flags = buf(1, 1):uint(), buf(2, 1):uint()\n"
"  local t = tree:add(p, buf())\n"
"  t:add(f.kind, buf(1, 1)); t:add(f.back, buf(2, 1)); t:add(f.own, buf(2, 1))\n"
"  t:add(f.fds, buf(3, 1)); t:add_le(f.queue, buf(4, 2))\n"
"  t:add_le(f.session, buf(8, 4))\n"
"  local what = kinds[kind] or \"?\"\n"
"  local b = buf:len() > 16 and buf(16):tvb() or nil\n"
"  if b and kind == 1 and b:len() >= 12 then\n"
"    what = message(b, t, bit.band(flags, 2) ~= 0, buf(3, 1):uint())\n"
"  elseif b and (kind == 2 or kind == 3) and b:len() >= 20 then\n"
"    what = ring(b, t, kind)\n"
"  elseif b and (kind == 7 or kind == 9) then\n"
"    t:add(f.text, b(0)); what = b(0):string()\n"
"  end\n"
"  local queue = buf(4, 2):le_uint()\n"
"  if queue ~= 65535 then what = \"queue \" .. queue .. \" \" .. what end\n"
"  info.cols.protocol = \"vhost-user\"\n"
"  info.cols.info = (bit.band(flags, 1) ~= 0 and \"<- \" or \"-> \") .. what\n"
"  return buf:len()\n"
"end\n"
"DissectorTable.get(\"wtap_encap\"):add(wtap.USER0, p)\n";

void dissector_print(FILE *to)
{
	fputs(head, to);
	fputs("local front = {\n", to);
	for (uint32_t i = 0; i < VHU_REQUESTS; i++)
		if (vhu_rule(i))
			fprintf(to, "  [%u] = \"%s\",\n", i,
				vhu_rule(i)->name);
	fputs("}\nlocal back = {\n", to);
	for (uint32_t i = 0; i < VHU_BACKEND_REQUESTS; i++)
		if (vhu_backend_rule(i))
			fprintf(to, "  [%u] = \"BACKEND_%s\",\n", i,
				vhu_backend_rule(i)->name);
	fputs("}\n", to);
	fputs(body, to);
}
