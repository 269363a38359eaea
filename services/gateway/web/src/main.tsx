/** Builds the desk once and shows it. */
import './styles/mantine.css'
import './styles/tokens.css'
import { createTheme, MantineProvider } from '@mantine/core'
import { QueryClient, QueryClientProvider } from '@tanstack/react-query'
import { createRoot } from 'react-dom/client'
import { App } from './app'
import { Desk } from './desk'
import { Whole } from './components/later'
import { DeskContext } from './hooks'

const theme = createTheme({ defaultRadius: 'md', cursorType: 'pointer', respectReducedMotion: true })
const queries = new QueryClient({ defaultOptions: { queries: { retry: 1, refetchOnWindowFocus: false, staleTime: 10_000 } } })
const desk = new Desk()

// Mantine must write no style element: the CSP allows only our own files.
createRoot(document.getElementById('root')!).render(
  <MantineProvider theme={theme} defaultColorScheme="auto" withCssVariables={false} withGlobalClasses={false}>
    <QueryClientProvider client={queries}>
      <DeskContext value={desk}>
        <Whole><App /></Whole>
      </DeskContext>
    </QueryClientProvider>
  </MantineProvider>,
)
desk.start()
