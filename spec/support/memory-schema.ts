import {
  type DdlEvent,
  ddlEvent,
  defineTable,
  dispatcherOfTable,
  type Table,
  type TruncateEvent,
  truncateEvent,
} from '../../lib/events/index.ts';
import type { LogicalMessage, RelationMessage } from '../../lib/formats/pgoutput/index.ts';
import type { ChangePosition, Resolution, SchemaResolver, TableInForce } from '../../lib/sources/postgres/schema-resolver.ts';

/** A schema history in memory: a relation message with other columns than before is a new version with a DDL event. */
export class MemorySchema implements SchemaResolver {
  /** What was asked, in order: `resolve users 100/0`, `truncate users 100/1`. */
  readonly asked: string[] = [];
  readonly ignored = new Set<string>();
  readonly dropBefore = new Map<string, bigint>();
  readonly #tables = new Map<number, Table>();

  async resolve(relation: RelationMessage, at: ChangePosition): Promise<Resolution> {
    this.asked.push(`resolve ${relation.name} ${at.commitTs}/${at.ordinal}`);
    const before = this.#tables.get(relation.relationId);
    const columns = relation.columns.map(({ name, isKey }, index) => ({
      name,
      wireIndex: index,
      columnId: index + 1,
      type: 'text',
      typeModifier: -1,
      nullable: true,
      isPrimaryKey: isKey,
      isIdentity: isKey,
      defaultText: null,
    }));
    const isSame = before?.columns.map(({ name }) => name).join() === columns.map(({ name }) => name).join();
    const table = isSame && before !== undefined ? before : this.#define(relation, columns, before === undefined ? 1n : at.commitTs);
    this.#tables.set(relation.relationId, table);
    const event: DdlEvent | null =
      before === undefined || isSame
        ? null
        : ddlEvent({
            position: { commitTs: at.commitTs, ordinal: at.ordinal },
            commitTimeUs: at.commitTimeUs,
            table,
            query: 'ALTER',
            action: 5,
          });
    return { ...this.lookup(relation.relationId), event };
  }

  async truncate(relationId: number, at: ChangePosition): Promise<TruncateEvent | null> {
    const table = defineTable({ ...this.#tables.get(relationId)!, version: at.commitTs });
    this.asked.push(`truncate ${table.name} ${at.commitTs}/${at.ordinal}`);
    this.#tables.set(relationId, table);
    return truncateEvent({
      position: { commitTs: at.commitTs, ordinal: at.ordinal },
      commitTimeUs: at.commitTimeUs,
      table,
      query: 'TRUNCATE',
    });
  }

  async statement({ prefix, content }: LogicalMessage, at: ChangePosition): Promise<readonly DdlEvent[]> {
    this.asked.push(`statement ${prefix} ${content.toString()} ${at.commitTs}/${at.ordinal}`);
    return [];
  }

  lookup(relationId: number): TableInForce {
    const table = this.#tables.get(relationId)!;
    return { table: this.ignored.has(table.name) ? null : table, dropBefore: this.dropBefore.get(table.name) ?? 0n };
  }

  #define({ relationId, namespace, name }: RelationMessage, columns: Table['columns'], version: bigint): Table {
    return defineTable({
      dispatcher: dispatcherOfTable('test', relationId),
      sourceSchema: namespace,
      sourceName: name,
      schema: namespace,
      name,
      tableId: relationId,
      version,
      columns,
      replicaIdentity: 'default',
    });
  }
}
