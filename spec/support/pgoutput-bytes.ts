/** Payloads of a replication stream's CopyData messages, by hand: what a walsender with pgoutput protocol 1 writes. Times are microseconds since 2000. */
export const bytes = {
  begin: (finalLsn: bigint, time = 0n) => xlogData(kind('B'), u64(finalLsn), u64(time), u32(7)),
  commit: (lsn: bigint, endLsn: bigint, time = 0n) => xlogData(kind('C'), u8(0), u64(lsn), u64(endLsn), u64(time)),
  relation: (id: number, name: string, columns: readonly string[] = ['id'], identity = 'd') =>
    xlogData(
      kind('R'),
      u32(id),
      text('public'),
      text(name),
      kind(identity),
      u16(columns.length),
      ...columns.map((column, index) => Buffer.concat([u8(index === 0 ? 1 : 0), text(column), u32(25), u32(0xffff_ffff)])),
    ),
  insert: (id: number, ...values: string[]) => xlogData(kind('I'), u32(id), kind('N'), tuple(values)),
  update: (id: number, ...values: string[]) => xlogData(kind('U'), u32(id), kind('N'), tuple(values)),
  remove: (id: number, ...values: string[]) => xlogData(kind('D'), u32(id), kind('K'), tuple(values)),
  truncate: (...ids: number[]) => xlogData(kind('T'), u32(ids.length), u8(0), ...ids.map(u32)),
  type: () => xlogData(kind('Y'), u32(90_000), text('public'), text('mood')),
  origin: () => xlogData(kind('O'), u64(1n), text('elsewhere')),
  message: (prefix = 'prefix', content = 'abc', isTransactional = true) =>
    xlogData(kind('M'), u8(isTransactional ? 1 : 0), u64(1n), text(prefix), u32(Buffer.byteLength(content)), Buffer.from(content)),
  keepalive: (walEnd: bigint, replyRequested = false) => Buffer.concat([kind('k'), u64(walEnd), u64(0n), u8(replyRequested ? 1 : 0)]),
};

function xlogData(...parts: Buffer[]): Buffer {
  // The LSNs of the header are those of the row, which do not ascend (I2): nothing may use them.
  return Buffer.concat([kind('w'), u64(0xffff_ffff_0000n), u64(0xffff_ffff_0000n), u64(0n), ...parts]);
}

function tuple(values: readonly string[]): Buffer {
  return Buffer.concat([
    u16(values.length),
    ...values.map((value) => Buffer.concat([kind('t'), u32(Buffer.byteLength(value)), Buffer.from(value)])),
  ]);
}

function kind(letter: string): Buffer {
  return Buffer.from(letter);
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

function u8(value: number): Buffer {
  return Buffer.from([value]);
}

function u16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32BE(value);
  return buffer;
}

function u64(value: bigint): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64BE(value);
  return buffer;
}
