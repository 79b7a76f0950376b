"""How alike emotions are: to the net, layer by layer, to people, and by their action units.

``patterns`` gathers what each subject's face of each emotion does to a layer; ``rdm`` turns that into
dissimilarities; ``matrices`` reads those of people; ``compare``, ``circle``, ``overlap``, ``actors``
ask one question each; ``mds`` draws a map from dissimilarities alone.
"""
