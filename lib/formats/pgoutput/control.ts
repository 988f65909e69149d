import type { Fields } from './fields.ts';
import {
  MessageKind,
  messageKindName,
  type PgoutputMessage,
  type PreparedMessage,
  type RelationColumn,
  type RelationMessage,
  type TruncateMessage,
} from './messages.ts';

/** The control message of `kind` whose fields (behind the xid of a streamed block) come next. The caller checks that nothing follows. */
export function readControlMessage(kind: MessageKind, fields: Fields, abortsHaveLsn: boolean): PgoutputMessage {
  switch (kind) {
    case MessageKind.relation:
      return readRelation(fields);
    case MessageKind.type:
      return { type: 'type', typeOid: fields.u32(), namespace: fields.text(), name: fields.text() };
    case MessageKind.truncate:
      return readTruncate(fields);
    case MessageKind.origin:
      return { type: 'origin', commitLsn: fields.u64(), name: fields.text() };
    case MessageKind.message:
      return {
        type: 'message',
        isTransactional: readFlag(fields),
        lsn: fields.u64(),
        prefix: fields.text(),
        content: fields.bytes(fields.u32()),
      };
    case MessageKind.streamStart:
      return { type: 'streamStart', xid: fields.u32(), isFirstSegment: readFlag(fields) };
    case MessageKind.streamStop:
      return { type: 'streamStop' };
    case MessageKind.streamCommit: {
      const xid = fields.u32();
      fields.noFlags();
      return { type: 'streamCommit', xid, commitLsn: fields.u64(), endLsn: fields.u64(), commitTimeUs: fields.timeUs() };
    }
    case MessageKind.streamAbort:
      return {
        type: 'streamAbort',
        xid: fields.u32(),
        subXid: fields.u32(),
        abortLsn: abortsHaveLsn ? fields.u64() : null,
        abortTimeUs: abortsHaveLsn ? fields.timeUs() : null,
      };
    case MessageKind.beginPrepare:
      return readPrepared('beginPrepare', fields);
    case MessageKind.prepare:
      fields.noFlags();
      return readPrepared('prepare', fields);
    case MessageKind.commitPrepared:
      fields.noFlags();
      return readPrepared('commitPrepared', fields);
    case MessageKind.streamPrepare:
      fields.noFlags();
      return readPrepared('streamPrepare', fields);
    case MessageKind.rollbackPrepared:
      fields.noFlags();
      return {
        type: 'rollbackPrepared',
        prepareEndLsn: fields.u64(),
        endLsn: fields.u64(),
        prepareTimeUs: fields.timeUs(),
        rollbackTimeUs: fields.timeUs(),
        xid: fields.u32(),
        gid: fields.text(),
      };
    case MessageKind.begin:
    case MessageKind.commit:
    case MessageKind.insert:
    case MessageKind.update:
    case MessageKind.delete:
      throw fields.fail(`${messageKindName(kind)} is no control message`);
  }
}

function readRelation(fields: Fields): RelationMessage {
  const relationId = fields.u32();
  const namespace = fields.text();
  const name = fields.text();
  const replicaIdentity = String.fromCharCode(fields.u8());
  if (!isReplicaIdentity(replicaIdentity)) throw fields.fail(`${JSON.stringify(replicaIdentity)} is no replica identity`, -1);
  const count = fields.u16();
  const columns: RelationColumn[] = [];
  for (let i = 0; i < count; i++) {
    const isKey = (fields.u8() & 1) !== 0;
    columns.push({ name: fields.text(), isKey, typeOid: fields.u32(), typeModifier: fields.i32() });
  }
  return { type: 'relation', relationId, namespace, name, replicaIdentity, columns };
}

function isReplicaIdentity(text: string): text is RelationMessage['replicaIdentity'] {
  return text === 'd' || text === 'n' || text === 'f' || text === 'i';
}

function readTruncate(fields: Fields): TruncateMessage {
  const count = fields.u32();
  const options = fields.u8();
  if (fields.left !== count * 4) throw fields.fail(`${count} relations are due in ${fields.left} bytes`);
  return {
    type: 'truncate',
    cascade: (options & 1) !== 0,
    restartIdentity: (options & 2) !== 0,
    relationIds: Array.from({ length: count }, () => fields.u32()),
  };
}

function readPrepared(type: PreparedMessage['type'], fields: Fields): PreparedMessage {
  return { type, lsn: fields.u64(), endLsn: fields.u64(), timeUs: fields.timeUs(), xid: fields.u32(), gid: fields.text() };
}

function readFlag(fields: Fields): boolean {
  const flag = fields.u8();
  if (flag > 1) throw fields.fail(`a flag is ${flag} instead of 0 or 1`, -1);
  return flag === 1;
}
