# ADE20K's layout: images/ and annotations/, each with training/ and validation/. The labels of an image are the classes
# in its mask; 0 was not annotated, and counts nowhere. The trainings take their classes from the data.
_base_ = './resnet50_voc12_seg.py'
data = dict(
    _delete_=True,
    type='MaskFolders',
    root='data/ade/ADEChallengeData2016',
    split='training',
    class_names='objectInfo150.txt',
    reduce_zero_label=True,
)
stages = dict(test=dict(split='validation', scales=[1.0], crf=False))
