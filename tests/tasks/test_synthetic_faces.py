import numpy as np

from edgenas.faces.baselines import Lda, pixels
from edgenas.faces.verification import pairs_from_embeddings, rank1, roc_from_pairs
from edgenas.tasks.synthetic_faces import draw_faces


def test_equal_seeds_draw_equal_faces_and_others_draw_others() -> None:
    images, labels = draw_faces(3, 2, 56, 1, seed=4)
    again, _ = draw_faces(3, 2, 56, 1, seed=4)
    other, _ = draw_faces(3, 2, 56, 1, seed=5)
    assert images.shape == (6, 56, 56, 1)
    assert images.dtype == np.uint8
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert np.array_equal(images, again)
    assert not np.array_equal(images, other)


def test_grey_is_the_luma_of_colour_but_for_the_noise() -> None:
    colour = draw_faces(4, 2, 56, 3, seed=4)[0].astype(np.float64) @ [0.299, 0.587, 0.114]
    grey = draw_faces(4, 2, 56, 1, seed=4)[0][..., 0].astype(np.float64)
    assert np.corrcoef(colour.ravel(), grey.ravel())[0, 1] > 0.97


def test_images_of_one_person_differ_and_still_carry_an_identity_that_a_linear_method_finds() -> None:
    images, labels = draw_faces(120, 5, 56, 1, seed=0)
    features = pixels(np.repeat(images.repeat(2, 1).repeat(2, 2), 3, axis=3))
    fit = labels < 80
    raw = roc_from_pairs(pairs_from_embeddings(features[~fit], labels[~fit])).auc
    lda = Lda(features[fit], labels[fit])(features[~fit])
    assert raw < 0.7  # the nuisance is larger than the identity
    assert roc_from_pairs(pairs_from_embeddings(lda, labels[~fit])).auc > raw + 0.1
    assert (rank1(lda, labels[~fit]) or 0) > 3 * 100 / 40  # chance is one in forty
