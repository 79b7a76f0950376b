"""Representational similarity of the emotions: layer by layer, in people's judgements, in action units.

``patterns`` computes a layer's mean activation for each subject and emotion.  ``rdm`` turns patterns into
dissimilarities.  ``matrices`` reads people's.  ``compare``, ``circle``, ``overlap`` and ``actors`` answer one question
each.  ``mds`` draws a map from dissimilarities alone.
"""
