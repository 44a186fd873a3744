/** What the doctor looks at is one section each: facts for programs, lines for people, and what both mean. */

/** Something that a person can use. */
export interface Finding<Code extends string = string> {
  /** Stable, for programs. */
  readonly code: Code
  readonly text: string
}

export interface Section<Facts = unknown> {
  readonly title: string
  /** As `--json` shows them. */
  readonly facts: Facts
  /** The facts for people. */
  readonly lines: readonly string[]
  /** The most important first. */
  readonly findings: readonly Finding[]
}
