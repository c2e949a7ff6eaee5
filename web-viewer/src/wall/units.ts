/** The tree of units, of any depth. */
import type { Unit } from '../api/types';

export interface Branch {
  unit: Unit;
  children: Branch[];
}

/** Units under their parents; a parent that is not known (or a ring) makes a root. */
export function grow(units: Unit[]): Branch[] {
  const branches = new Map(units.map((unit) => [unit.unit_id, { unit, children: [] as Branch[] }]));
  const roots: Branch[] = [];
  for (const branch of branches.values()) {
    const parent = branch.unit.parent_id === null ? undefined : branches.get(branch.unit.parent_id);
    if (parent && !isWithin(units, parent.unit.unit_id, branch.unit.unit_id)) parent.children.push(branch);
    else roots.push(branch);
  }
  return roots;
}

/** Whether a unit is another or lies below it. */
export function isWithin(units: Unit[], unitId: string, ancestorId: string): boolean {
  const parents = new Map(units.map((u) => [u.unit_id, u.parent_id]));
  const seen = new Set<string>();
  for (let at: string | null | undefined = unitId; at && !seen.has(at); at = parents.get(at)) {
    if (at === ancestorId) return true;
    seen.add(at);
  }
  return false;
}
