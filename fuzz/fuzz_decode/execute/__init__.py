"""One case through one target in this process.

`run_case` builds the case (`problems`), calls the target (`invoke`) and asks every oracle (`oracles`);
`compare_with_tolerance` judges `out` alone, as the test suites of other projects do; `gpu_lock` shares a GPU among workers.
"""
