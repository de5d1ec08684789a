// A fault in one page must not take the shell with it. A class, because React catches faults only in classes.

import { Component, type ReactNode } from 'react'
import { Failure } from './atoms.tsx'

export class Boundary extends Component<{ children: ReactNode }, { error: unknown }> {
  override state = { error: undefined as unknown } // widened: setState puts in whatever was thrown
  static getDerivedStateFromError(error: unknown) {
    return { error }
  }
  override render() {
    if (this.state.error === undefined) return this.props.children
    return (
      <Failure
        error={this.state.error}
        what="this page"
        retry={() => this.setState({ error: undefined })}
      />
    )
  }
}
