r"""An estimator with the interface of scikit-learn for many small related regressions."""
