"""Independent oracles: slow, plain and sharing no code with the package they judge.

None of these modules may import ``wdaverify``.  They take plain numpy arrays, bundled in
`reference.question.Question`, and answer the same question in different ways:

- `milp`: big-M integer programs without cells, in HiGHS;
- `grid`: brute force on a grid, with the product-of-norms Lipschitz constant as an upper bound;
- `transport`: the transport linear program over listed candidates, Wasserstein distances by POT;
- `cells`: activation cells in exact rational arithmetic;
- `dual_cvxpy`: the whole dual over those cells, in cvxpy; margin and hinge, finite orders;
- `simplices`: every loss, norm, order, support and label cost in one and two dimensions, by branch
  and bound over simplices cut from those cells (`regions`); a proved bracket, about 1e-8 wide;
- `interval`: the same on a line by growth functions, without cells and without duality;
- `combinations`: a small problem for every cell of the table, with stored brackets.
"""
