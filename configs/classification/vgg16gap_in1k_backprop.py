# Localised by the gradient of a class's score with respect to the image: the CAM paper's other baseline. It took the
# original networks; trained, this is vgg16gap_in1k.py and reads its checkpoint.
_base_ = './vgg16gap_in1k.py'
model = dict(type='mmentropy.ExplainedClassifier', explainer='input_gradient')
