# Control: Grad-CAM's maps of the plain CAM model.
_base_ = './resnet50_cub480_cam_avg.py'
model = dict(type='mmentropy.ExplainedClassifier', explainer='grad_cam')
