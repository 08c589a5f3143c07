"""Independent oracles: slow, plain and sharing no code with the package they judge.

None of these modules may import ``wdaverify``.  They take plain numpy arrays, bundled in
`reference.question.Question`, and answer the same question in different ways:

- `milp`: big-M integer programs without cells, in HiGHS;
- `grid`: brute force on a grid, with the product-of-norms Lipschitz constant as an upper bound;
- `transport`: the transport linear program over listed candidates, Wasserstein distances by POT;
- `cells`: activation cells in exact rational arithmetic;
- `dual_cvxpy`: the whole dual over those cells, in cvxpy.
"""
