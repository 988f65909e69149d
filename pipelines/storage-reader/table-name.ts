/** A table's exact names. */
export interface TableName {
  readonly schema: string;
  readonly table: string;
}
