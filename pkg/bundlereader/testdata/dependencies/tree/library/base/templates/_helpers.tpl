helpers
