// The verify page's entry: public, without a session, and without any of the console's queries.

import './console.css'
import { StrictMode } from 'react'
import { createRoot } from 'react-dom/client'
import { Verify } from './pages/Verify.tsx'

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <Verify />
  </StrictMode>,
)
