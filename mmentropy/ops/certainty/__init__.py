# Copyright (c) mmentropy authors. Licensed under the Apache License 2.0.
"""How certain a prediction is: entropies, the pooling they weigh, regularisers, barriers."""
