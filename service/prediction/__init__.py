"""The way of a prediction request, from its route handler to the engine and back.

Read in this order:

1. `request`: what a caller may ask for, and what it gets.
2. `dispatch`: the two ways, one for a whole context and one for an append to a session.
   Each routes, runs within a deadline, and is recorded once at its end. `immediate_append` is
   the append that waits for the engine alone, as most do; `append_group` is several at once.
3. `routing`: who serves the request, as an immutable value.
4. `service.contexts.session`: a session plans its append; `append_commit` applies it.
   `context_runner`: a whole context runs from its longest known prefix.
5. `submission`: the vectors go to the version's scheduler
   (`service.inference.scheduling`), and from there to its engine.
6. `request_record`: what is counted of the request.
7. `shadow_runner`, `service.quality.online_scorer`: copies for the canary, and scores.
"""
