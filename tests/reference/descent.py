"""Training by plain iteration in d dimensions."""

from .losses import Population
from .recursion import meta_gradient


def population_round(B, w, B_star, heads, method):
    """One outer step on population losses, (3), for the round's heads (n, k_star)."""
    targets = [Population(B_star @ head) for head in heads]
    grad_B, grad_w = meta_gradient(B, w, [(task, task) for task in targets], method)
    return B - method.beta * grad_B, w - method.beta * grad_w


def descend(B, w, B_star, rounds_of_heads, method):
    """The states (B_t, w_t), t = 0..T; one (n, k_star) array of heads per round."""
    states = [(B, w)]
    for heads in rounds_of_heads:
        states.append(population_round(*states[-1], B_star, heads, method))
    return states
