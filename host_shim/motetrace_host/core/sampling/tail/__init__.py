"""Which traces are kept once they are complete: `span_facts`, `interesting`, `rules`, `verdicts`, in that order."""
