// Runs before the first paint, as a file of its own because the policy allows no inline script: no flash of the other theme.
// Assets are cached for ever under their name: a change to this file takes the next number.
const theme = localStorage.getItem('runledger.theme')
if (theme === '"light"') document.documentElement.dataset.theme = 'light'
if (theme === '"dark"') document.documentElement.dataset.theme = 'dark'
