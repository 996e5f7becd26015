// Why podpaced does not do on this node what it was asked for, before anything was changed.

export class Refusal extends Error {
  override readonly name = 'Refusal';
  /** What follows the thing that cannot be done: `Cannot start on Linux 5.4: …`. */
  readonly where: string;

  constructor(reason: string, where = '') {
    super(reason);
    this.where = where;
  }
}
